//! Work for processors, beside the threads that serve requests: as much at once as there are
//! processors, a bounded number waiting, the rest refused.

use std::{sync::Arc, thread};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
};
use tracing::{Instrument, Span, info_span};

/// Where the work is done.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    /// For those who wait and those who work.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A place among those who wait or work; given up when all its clones are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is as much to do as may wait; try again in a moment")]
pub(crate) struct Full;

/// The thread that worked is gone.
#[derive(Debug, thiserror::Error)]
#[error("the work did not come to an end")]
pub(crate) struct WorkLost(#[from] task::JoinError);

impl Workers {
    /// One for each processor, and room for so many who wait.
    pub(crate) fn new(waiting: usize) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            places: Arc::new(Semaphore::new(processors + waiting)),
            turns: Arc::new(Semaphore::new(processors)),
        }
    }

    /// A place, if there is one.
    pub(crate) fn place(&self) -> Result<Place, Full> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let place = |permit| Place {
            _permit: Arc::new(permit),
        };
        permit.map(place).map_err(|_| Full)
    }

    /// Does the work when its turn comes, within the current span. A wait has a span of its own.
    /// What was begun is finished even when nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkLost> {
        let turn = self.turn().await;
        let span = Span::current();
        let work = move || {
            let _held = (place, turn);
            span.in_scope(work)
        };
        Ok(task::spawn_blocking(work).await?)
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turns = Arc::clone(&self.turns);
        if let Ok(turn) = Arc::clone(&turns).try_acquire_owned() {
            return Some(turn);
        }
        // Never closed; and without a turn the work would only be less orderly.
        turns
            .acquire_owned()
            .instrument(info_span!("queue"))
            .await
            .ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let workers = Workers::new(1);
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut taken: Vec<_> = (0..=processors).map(|_| workers.place().unwrap()).collect();
        assert_eq!(workers.place().unwrap_err(), Full);
        let place = taken.pop().unwrap();
        assert_eq!(workers.run(place, || 5).await.unwrap(), 5);
        assert!(workers.place().is_ok());
    }

    #[tokio::test]
    async fn work_that_panics_leaves_its_place() {
        let workers = Workers::new(0);
        for _ in 0..100 {
            let place = workers.place().unwrap();
            assert!(workers.run(place, || panic!("on purpose")).await.is_err());
        }
    }
}
