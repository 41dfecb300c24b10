//! Totals of the outcomes of spans and traces.

use jiff::Timestamp;

use crate::scan::Rejected;

/// The outcomes of spans and traces since the start. All spans received are kept, dropped or
/// gathering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Spans received in requests that were accepted.
    pub received: u64,
    /// Those of them that were received before a restart and read from the journal: spans that wait
    /// again, and kept spans that are sent again.
    pub replayed: u64,
    /// Spans that were stored, or collected to be forwarded.
    pub kept: u64,
    /// Spans of traces that a policy dropped.
    pub not_sampled: u64,
    /// Spans with an invalid ID, or whose resource or scope is too large or has a name or version
    /// that is too long.
    pub rejected: Rejected,
    /// Spans for which there was no room.
    pub no_room: u64,
    /// Spans of traces that the store had already evicted.
    pub late: u64,
    /// Spans that arrived after the decision on their trace and followed it. They are among those
    /// kept and dropped.
    pub followed: u64,
    /// Spans waiting for their trace's decision.
    pub gathering: u64,
    /// Traces waiting for their decision.
    pub traces_gathering: u64,
    /// Traces decided and kept.
    pub traces_kept: u64,
    /// Traces decided and dropped.
    pub traces_dropped: u64,
    /// The time of the last decision to drop a trace.
    pub last_dropped: Option<Timestamp>,
    /// Traces decided early because the memory for gathering was full.
    pub traces_decided_early: u64,
}

impl Totals {
    /// Spans dropped for any reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.not_sampled + self.rejected.total() + self.no_room + self.late
    }

    /// Counts the outcome of storing a span.
    pub(crate) fn count<T>(&mut self, outcome: &Result<T, NotStored>) {
        match outcome {
            Ok(_) => self.kept += 1,
            Err(NotStored::Late) => self.late += 1,
            Err(NotStored::Full) => self.no_room += 1,
        }
    }
}

/// The reason that a span is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// There is no room for it: every segment slot is in use.
    Full,
    /// Its trace was evicted; the late span alone would look like a complete trace.
    Late,
}
