//! The results of all connections: counts and histograms, whose number does not depend on the
//! duration of the load.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hdrhistogram::CreationError;

use super::{
    request_stats::{Outcome, RequestStats},
    timeline::Timeline,
};

/// The results so far.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) all: RequestStats,
    /// The statistics of each phase, in their order.
    pub(super) phases: Vec<RequestStats>,
    pub(super) operations: BTreeMap<Arc<str>, RequestStats>,
    pub(super) timeline: Timeline,
}

impl Recorded {
    /// Creates empty statistics for these phases and operations.
    pub(super) fn new<'a>(
        phases: usize,
        operations: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<Self, CreationError> {
        let empty = RequestStats::new()?;
        Ok(Self {
            phases: vec![empty.clone(); phases],
            operations: operations
                .map(|operation| (Arc::clone(operation), empty.clone()))
                .collect(),
            all: empty,
            timeline: Timeline::new(),
        })
    }

    /// Records the outcome of an operation's request. `due` is the time from the start until it was
    /// due.
    pub(super) fn record(
        &mut self,
        operation: &str,
        phase: usize,
        due: Duration,
        outcome: &Outcome,
    ) {
        self.all.count(outcome);
        if let Some(phase) = self.phases.get_mut(phase) {
            phase.count(outcome);
        }
        if let Some(operation) = self.operations.get_mut(operation) {
            operation.count(outcome);
        }
        let ended = due + outcome.latency;
        self.timeline.count(due, ended, outcome.result);
    }
}
