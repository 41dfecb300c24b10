//! CPU-bound work on threads other than those that serve requests: one job per CPU runs, a bounded
//! number waits, and the rest is refused.

use std::{sync::Arc, thread};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
};
use tracing::{Instrument, Span, info_span};

/// The bounded pool of workers.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    /// One permit for each reservation.
    slots: Arc<Semaphore>,
    /// One permit for each job that runs.
    running: Arc<Semaphore>,
}

/// A reservation for jobs that wait or run, one after the other. It ends when all its clones are
/// dropped.
pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

/// The error if all slots are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full; try again in a moment")]
pub(crate) struct QueueFull;

/// The error if the worker thread panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work was aborted")]
pub(crate) struct JobLost(#[from] task::JoinError);

impl Workers {
    /// Creates a pool with one worker per CPU and a queue of this length.
    pub(crate) fn new(queue: usize) -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: Arc::new(Semaphore::new(cpus + queue)),
            running: Arc::new(Semaphore::new(cpus)),
        }
    }

    /// Reserves a slot, if one is free.
    pub(crate) fn reserve(&self) -> Result<Slot, QueueFull> {
        let permit = Arc::clone(&self.slots).try_acquire_owned();
        permit.map(Arc::new).map_err(|_| QueueFull)
    }

    /// Runs a job in the current span when a CPU is free. Waiting has a span of its own. A job that
    /// has started is finished even if the request is cancelled.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        slot: Slot,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JobLost> {
        let permit = self.wait_for_cpu().await;
        // `spawn_blocking` does not carry the current span to its thread.
        let span = Span::current();
        let work = move || {
            // Held until the job ends, even if the request is cancelled earlier.
            let _held = (slot, permit);
            span.in_scope(work)
        };
        Ok(task::spawn_blocking(work).await?)
    }

    async fn wait_for_cpu(&self) -> Option<OwnedSemaphorePermit> {
        let running = Arc::clone(&self.running);
        if let Ok(permit) = Arc::clone(&running).try_acquire_owned() {
            return Some(permit);
        }
        // The semaphore is never closed, so acquiring does not fail.
        running
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
    async fn slots_are_bounded_and_released() {
        let workers = Workers::new(1);
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut taken: Vec<_> = (0..=processors)
            .map(|_| workers.reserve().unwrap())
            .collect();
        assert_eq!(workers.reserve().unwrap_err(), QueueFull);
        let slot = taken.pop().unwrap();
        assert_eq!(workers.run(slot, || 5).await.unwrap(), 5);
        assert!(workers.reserve().is_ok());
    }

    #[tokio::test]
    async fn a_panicking_job_releases_its_slot() {
        let workers = Workers::new(0);
        for _ in 0..100 {
            let slot = workers.reserve().unwrap();
            assert!(workers.run(slot, || panic!("on purpose")).await.is_err());
        }
    }
}
