//! Figures over all connections of a process.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Sums over the connections of a registry. They are atomics because every request changes them,
/// while the registry's lock is only taken once a bound is exceeded.
#[derive(Debug, Default)]
pub(super) struct Totals {
    unread_bytes: AtomicUsize,
    unfinished_heads: AtomicUsize,
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

    /// Connections with a part of a request's head.
    pub(super) fn unfinished_heads(&self) -> usize {
        self.unfinished_heads.load(Ordering::Relaxed)
    }

    pub(super) fn add_unfinished_head(&self) {
        self.unfinished_heads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_unfinished_head(&self) {
        self.unfinished_heads.fetch_sub(1, Ordering::Relaxed);
    }
}
