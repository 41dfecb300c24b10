//! Figures over all connections of a process.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A sum over the connections of a registry. It is an atomic because every request changes it,
/// while the registry's lock is only taken once a bound is exceeded.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicUsize);

/// The sums over the connections of a registry.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Bytes of responses that were built and that no peer has read.
    pub(super) unread_bytes: Total,
    /// Connections with a part of a request's head.
    pub(super) unfinished_heads: Total,
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
