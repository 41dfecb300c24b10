//! Figures over all connections of a process.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Sums over the connections of a registry. They are atomics because every response changes them,
/// while the registry's lock is only taken once a bound is exceeded.
#[derive(Debug, Default)]
pub(super) struct Totals {
    unread_bytes: AtomicUsize,
}

impl Totals {
    /// Bytes of responses that were built and that no peer has read.
    pub(super) fn unread_bytes(&self) -> usize {
        self.unread_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_unread(&self, bytes: usize) {
        self.unread_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove_unread(&self, bytes: usize) {
        self.unread_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
