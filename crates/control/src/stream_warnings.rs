//! A limit for warnings about the messages of streams.

use std::sync::atomic::{AtomicBool, Ordering};

use spoor_runtime::LogLimit;

/// Limits the warnings of all streams together, since one client can send an invalid message on
/// each of thousands of streams.
static WARNINGS: LogLimit = LogLimit::new();

/// Limits warnings to one for each stream, so that a faulty client cannot flood the log.
#[derive(Debug, Default)]
pub(crate) struct StreamWarnings(AtomicBool);

impl StreamWarnings {
    /// If a warning should be logged now, returns how many were suppressed since the last one.
    pub(crate) fn admit(&self) -> Option<u64> {
        if self.0.swap(true, Ordering::Relaxed) {
            return None;
        }
        WARNINGS.admit()
    }
}
