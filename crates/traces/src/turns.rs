//! Long work on threads that may block, a few pieces of it at the same time.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinError,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The pieces of work that may run at the same time; more wait in the order in which they came.
/// Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Waits for a turn, which lasts until it is dropped; none if it does not come in time.
    pub(crate) async fn next(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let turn = timeout_at(deadline, Arc::clone(&self.0).acquire_owned()).await;
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
        // Work that nobody waits for any more still has its turn until it notices.
        let _turn = turn;
        work(cancelled)
    };
    tokio::task::spawn_blocking(work).await
}
