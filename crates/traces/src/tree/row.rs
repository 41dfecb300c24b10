//! A row of the tree: a span, its position, and its part of the critical path.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::Event;

use super::member::Member;

/// A span at its position in the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The span.
    pub member: Member,
    /// The number of spans above it.
    pub depth: usize,
    /// The row of its parent.
    pub parent: Option<usize>,
    /// The reason for its position.
    pub position: Position,
    /// Its duration without the time in which any child ran.
    pub self_time: Duration,
    /// The parts of it that are on the critical path, in time order.
    pub critical: Vec<CriticalSegment>,
}

/// The reason for a span's position in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It has no parent ID.
    Root,
    /// Its parent is above it.
    Child,
    /// Its parent is not in the trace: not sampled, not received yet, or lost.
    MissingParent,
    /// It is its own ancestor. It is shown as a root, since there is no root above it.
    Cycle,
}

/// The event that a service adds to the span of a request that it delays or fails on purpose.
const FAULT_EVENT: &str = "fault.injected";

pub(super) fn is_fault(event: &Event) -> bool {
    event.name == FAULT_EVENT
}

impl Row {
    /// Returns whether the service delayed or failed the request on purpose.
    #[must_use]
    pub fn has_injected_fault(&self) -> bool {
        self.member.span.events.iter().any(is_fault)
    }

    /// The time of the critical path that is spent in this span.
    #[must_use]
    pub fn critical_time(&self) -> Duration {
        self.critical.iter().map(CriticalSegment::duration).sum()
    }
}

/// A period on the critical path, spent in one span and in none of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CriticalSegment {
    /// Its start, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// Its end, in nanoseconds since the Unix epoch.
    pub end: u64,
}

impl CriticalSegment {
    /// Its length.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.start))
    }
}
