//! The IDs of evicted traces, so that late spans do not create the traces again.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// The memory of one ID, in the queue and in the table with its free slots.
const BYTES_PER_ID: usize = 40;
/// The store's memory divided by the memory for these IDs.
const STORE_DIVISOR: usize = 64;

/// The last evicted trace IDs, by their hashes; the oldest is forgotten first.
pub(super) struct EvictedIds {
    // Hashes take half of the memory of IDs. Among a million of them, two are equal with a
    // probability of 1 in 37 million; such a trace would be dropped as late.
    hashes: HashTable<u64>,
    oldest_first: VecDeque<u64>,
    max: usize,
}

impl EvictedIds {
    /// An empty set, sized for a store with this bound.
    pub(super) fn new(store_bytes: usize) -> Self {
        Self {
            hashes: HashTable::new(),
            oldest_first: VecDeque::new(),
            max: store_bytes / STORE_DIVISOR / BYTES_PER_ID,
        }
    }

    pub(super) fn remember(&mut self, hash: u64) {
        // A second entry would be removed together with the first one.
        if self.max == 0 || self.contains(hash) {
            return;
        }
        if self.oldest_first.len() == self.max
            && let Some(oldest) = self.oldest_first.pop_front()
            && let Ok(entry) = self.hashes.find_entry(oldest, |known| *known == oldest)
        {
            entry.remove();
        }
        self.oldest_first.push_back(hash);
        self.hashes.insert_unique(hash, hash, |known| *known);
    }

    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        !self.hashes.is_empty() && self.hashes.find(hash, |known| *known == hash).is_some()
    }

    /// The memory in use, in bytes.
    pub(super) fn allocated(&self) -> usize {
        self.hashes.allocation_size() + self.oldest_first.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_PER_ID, EvictedIds, STORE_DIVISOR};

    #[test]
    fn oldest_id_is_forgotten_first() {
        let mut ids = EvictedIds::new(STORE_DIVISOR * BYTES_PER_ID * 3);
        for id in [1, 2, 2, 3, 4] {
            ids.remember(id);
        }
        let known = [1, 2, 3, 4].map(|id| ids.contains(id));
        assert_eq!(known, [false, true, true, true]);
    }

    #[test]
    fn ids_stay_within_their_memory() {
        let store_bytes = 64 << 20;
        let mut ids = EvictedIds::new(store_bytes);
        for id in 0..200_000_u64 {
            ids.remember(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        assert!(
            ids.allocated() <= store_bytes / STORE_DIVISOR,
            "{}",
            ids.allocated()
        );
    }
}
