//! Remembers which traces were dropped, so that late spans follow.

use std::time::{Duration, Instant};

use hashbrown::HashTable;

use crate::{TraceId, log::IdHasher};

/// The ids of the traces dropped last, in two generations of which the older goes when the
/// newer is full or old.
#[derive(Debug)]
pub(super) struct Forgotten {
    newer: HashTable<TraceId>,
    older: HashTable<TraceId>,
    hasher: IdHasher,
    max: usize,
    keep_for: Duration,
    since: Instant,
}

impl Forgotten {
    /// Remembers at least the last `max` traces, unless they are older than `keep_for`.
    pub(super) fn new(max: usize, keep_for: Duration, hasher: IdHasher, now: Instant) -> Self {
        let (newer, older) = (HashTable::new(), HashTable::new());
        Self {
            newer,
            older,
            hasher,
            max,
            keep_for,
            since: now,
        }
    }

    #[inline]
    pub(super) fn contains(&self, id: TraceId, hash: u64) -> bool {
        self.newer.find(hash, |known| *known == id).is_some()
            || self.older.find(hash, |known| *known == id).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.newer.is_empty() && self.older.is_empty()
    }

    pub(super) fn insert(&mut self, id: TraceId, hash: u64) {
        if self.newer.len() >= self.max {
            self.turn();
        }
        let hasher = &self.hasher;
        self.newer.insert_unique(hash, id, |id| hasher.hash(*id));
    }

    /// Lets go what is too old.
    pub(super) fn age(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= self.keep_for {
            self.turn();
            self.since = now;
        }
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.newer, &mut self.older);
        self.newer.clear();
    }
}
