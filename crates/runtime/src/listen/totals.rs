//! Sums over all connections of a process, or of one listener.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A sum over the connections of a registry or of a listener.
// Atomic, because every request changes it, while a request takes the registry's lock only once a
// bound is exceeded.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicUsize);

/// The sums over the connections of a registry.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Bytes of responses that were built and not read yet.
    pub(super) unread_bytes: Total,
    /// Connections that have sent a part of a request's head.
    pub(super) unfinished_heads: Total,
    /// Bytes of the heads of requests whose response has not begun.
    pub(super) head_bytes: Total,
}

impl Total {
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn remove(&self, count: usize) {
        self.0.fetch_sub(count, Relaxed);
    }
}
