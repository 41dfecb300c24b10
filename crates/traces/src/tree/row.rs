//! A row of the tree: a span, its place, and its part of the critical path.

use std::time::Duration;

use super::member::Member;

/// A span in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The span.
    pub member: Member,
    /// The number of spans above it.
    pub depth: usize,
    /// The row of its parent.
    pub parent: Option<usize>,
    /// The number of spans directly below it.
    pub children: usize,
    /// The reason for its place.
    pub place: Place,
    /// Its duration without the time in which any child ran.
    pub self_time: Duration,
    /// The parts of it that the trace's duration is made of: the critical path, in time order.
    pub critical: Vec<Segment>,
}

/// The reason for a span's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It names no parent.
    Root,
    /// Its parent is above it.
    Child,
    /// It names a parent that is not in the trace (not sampled, not yet here, or lost).
    MissingParent,
    /// Its parents lead back to itself; shown as a root so that it is shown at all.
    Cycle,
}

impl Row {
    /// The time of the critical path that is spent in this span.
    #[must_use]
    pub fn critical_time(&self) -> Duration {
        self.critical.iter().map(Segment::duration).sum()
    }
}

/// A stretch of time on the critical path, spent in one span and in none of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its start, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// Its end, in nanoseconds since the Unix epoch.
    pub end: u64,
}

impl Segment {
    /// Its length.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.start))
    }
}
