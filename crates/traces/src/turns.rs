//! Long work on blocking threads, with a limit on the work that runs and on the work that waits.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The most pieces of work that wait for a turn. Each holds its connection, and thus a descriptor,
/// which the listeners of the process share.
pub(crate) const MAX_WAITING: usize = 64;

/// A limit on the pieces of work that run at the same time; up to [`MAX_WAITING`] more wait in the
/// order of their arrival. Clones share both limits.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Turns {
    pub(crate) fn new(max_running: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(max_running)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// Waits for a turn, which lasts until it is dropped; `None` if the deadline passes first, or
    /// too many wait already.
    pub(crate) async fn next(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let turn = timeout_at(deadline, Arc::clone(&self.running).acquire_owned()).await;
        // The semaphore is never closed, so both errors mean that the wait was too long.
        turn.ok()?.ok()
    }
}

/// Does some work on a thread that may block, and drops its turn afterwards. When the returned
/// future is dropped, as it is when the client disconnects, the token is cancelled.
///
/// # Errors
/// [`JoinError`] if the work panics, or the runtime shuts down before it begins.
pub(crate) async fn run<T: Send + 'static>(
    turn: impl Send + 'static,
    work: impl FnOnce(CancellationToken) -> T + Send + 'static,
) -> Result<T, JoinError> {
    let cancelled = CancellationToken::new();
    let _cancel = cancelled.clone().drop_guard();
    let work = move || {
        // Abandoned work keeps its turn until it observes the cancellation.
        let _turn = turn;
        work(cancelled)
    };
    tokio::task::spawn_blocking(work).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tokio::{task::JoinSet, time::Instant};

    use super::{MAX_WAITING, Turns};

    #[tokio::test]
    async fn refuses_immediately_when_too_many_wait() {
        let turns = Turns::new(1);
        let deadline = Instant::now() + Duration::from_secs(30);
        let running = turns.next(deadline).await.unwrap();
        let mut waiting = JoinSet::new();
        for _ in 0..MAX_WAITING {
            let turns = turns.clone();
            waiting.spawn(async move { turns.next(deadline).await.is_some() });
        }
        while turns.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(turns.next(deadline).await.is_none());
        assert!(Instant::now() < deadline);
        drop(running);
        assert!(waiting.join_all().await.iter().all(|got_turn| *got_turn));
        assert!(turns.next(deadline).await.is_some());
    }
}
