//! The outcomes of spans.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Spans exported and dropped since the process started.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

/// The reason that a span was dropped, displayed by its name in metrics and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// All attempts to export it failed.
    ExportFailed,
    /// The receiver will never accept it.
    Refused,
    /// The process ended before it was exported.
    ShutDown,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [
        Self::QueueFull,
        Self::ExportFailed,
        Self::Refused,
        Self::ShutDown,
    ];
}

impl SpanCounts {
    /// Spans that the receiver accepted.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Spans dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.slot(reason).load(Relaxed)
    }

    /// Spans dropped for any reason.
    #[must_use]
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().map(|count| count.load(Relaxed)).sum()
    }

    pub(super) fn add_exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    pub(super) fn add_dropped(&self, reason: DropReason, spans: u64) {
        self.slot(reason).fetch_add(spans, Relaxed);
    }

    fn slot(&self, reason: DropReason) -> &AtomicU64 {
        // A pattern instead of an index: a new reason does not compile until it has a slot.
        let [queue_full, export_failed, refused, shut_down] = &self.dropped;
        match reason {
            DropReason::QueueFull => queue_full,
            DropReason::ExportFailed => export_failed,
            DropReason::Refused => refused,
            DropReason::ShutDown => shut_down,
        }
    }
}
