//! The hasher of trace IDs.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::TraceId;

/// Hashes trace IDs. All logs share it, so that an ID has the same hash in each.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdHasher(DefaultHashBuilder);

impl IdHasher {
    #[inline]
    pub(crate) fn hash(&self, id: TraceId) -> u64 {
        self.0.hash_one(u128::from_ne_bytes(id.to_bytes()))
    }

    /// The hashes of a request's trace IDs. Each ID is also looked up, which only warms the
    /// processor's cache: these look-ups are independent of one another, so the processor overlaps
    /// their cache misses.
    pub(crate) fn hash_all(
        &self,
        ids: impl Iterator<Item = TraceId> + Clone,
        look_up: impl Fn(TraceId, u64) -> bool,
    ) -> Vec<u64> {
        let hashes: Vec<u64> = ids.clone().map(|id| self.hash(id)).collect();
        let known = ids.zip(&hashes).filter(|(id, hash)| look_up(*id, **hash));
        // The compiler must not remove the look-ups: their effect is in the processor's cache.
        std::hint::black_box(known.count());
        hashes
    }
}
