//! A store's contents, behind its lock.

use super::evicted::EvictedIds;
use crate::{
    keep_reason::Reasons,
    log::{Evicted, IdHasher, Log},
};

pub(super) struct Shared {
    pub(super) log: Log,
    pub(super) max_bytes: usize,
    pub(super) reasons: Reasons,
    pub(super) evicted: Evicted,
    pub(super) evicted_ids: EvictedIds,
}

impl Shared {
    pub(super) fn new(max_bytes: usize, hasher: IdHasher) -> Self {
        Self {
            log: Log::new(max_bytes, hasher),
            max_bytes,
            reasons: Reasons::default(),
            evicted: Evicted::default(),
            evicted_ids: EvictedIds::new(max_bytes),
        }
    }

    /// The memory in use, in bytes, without the reasons, whose number has a bound of its own.
    pub(super) fn allocated(&self) -> usize {
        self.log.allocated() + self.evicted_ids.allocated()
    }
}
