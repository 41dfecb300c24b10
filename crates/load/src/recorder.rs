//! The results of all connections: counts and histograms, whose number does not depend on the
//! duration of the load.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hdrhistogram::CreationError;
use parking_lot::Mutex;

use super::{
    tally::{Outcome, Tally},
    timeline::Timeline,
};

/// The results so far, which all connections share.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Recorded>);

#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) all: Tally,
    /// One tally for each phase, in their order.
    pub(super) phases: Vec<Tally>,
    pub(super) operations: BTreeMap<Arc<str>, Tally>,
    pub(super) timeline: Timeline,
}

/// A request, and the time since the start at which it was due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) operation: &'a Arc<str>,
    pub(super) phase: usize,
    pub(super) due: Duration,
}

impl Recorder {
    /// Creates empty tallies for these phases and operations.
    pub(super) fn new<'a>(
        phases: usize,
        operations: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<Self, CreationError> {
        let empty = Tally::new()?;
        Ok(Self(Mutex::new(Recorded {
            phases: vec![empty.clone(); phases],
            operations: operations
                .map(|operation| (Arc::clone(operation), empty.clone()))
                .collect(),
            all: empty,
            timeline: Timeline::new(),
        })))
    }

    /// Records the outcome of a request.
    pub(super) fn record(&self, request: Request<'_>, outcome: &Outcome) {
        // One lock for everything, so that the rows of a summary add up.
        let mut recorded = self.0.lock();
        recorded.all.count(outcome);
        if let Some(phase) = recorded.phases.get_mut(request.phase) {
            phase.count(outcome);
        }
        if let Some(operation) = recorded.operations.get_mut(request.operation) {
            operation.count(outcome);
        }
        let ended = request.due + outcome.latency;
        recorded.timeline.count(request.due, ended, outcome.result);
    }

    /// Returns the results.
    pub(super) fn into_recorded(self) -> Recorded {
        self.0.into_inner()
    }
}
