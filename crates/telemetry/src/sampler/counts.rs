//! Counts root decisions for each entry of a plan.
//!
//! Each thread counts in a [`Shard`] of its own, so that counting a decision writes no memory that
//! another thread writes. [`Counters`] adds the shards for a report.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as wire;

use super::to_wire;

/// Decisions on root spans since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, derive_more::AddAssign)]
pub struct Decisions {
    /// All decisions.
    pub started: u64,
    /// The decisions to keep the trace.
    pub sampled: u64,
}

/// All threads' counts for one version of the plan.
#[derive(Debug)]
pub(super) struct Counters {
    /// `None` before the first plan. Those counts are not reported.
    version: Option<Version>,
    /// The operation of each entry; empty for the default.
    entries: Vec<Box<str>>,
    state: Mutex<CountersState>,
}

/// One thread's counts; only that thread writes.
#[derive(Debug)]
pub(super) struct Shard {
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
// A cache line each, so that no two threads write the same one.
#[repr(align(64))]
struct Slot {
    started: AtomicU64,
    sampled: AtomicU64,
    first_unix_millis: AtomicI64,
}

#[derive(Debug, Default)]
struct CountersState {
    shards: Vec<Arc<Shard>>,
    /// The counts of threads that no longer hold this plan.
    retired: Vec<EntryCount>,
    /// The last change of each entry that a report saw.
    last_changes: Vec<LastChange>,
}

#[derive(Clone, Copy, Debug, Default)]
struct EntryCount {
    started: u64,
    sampled: u64,
    first_unix_millis: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct LastChange {
    started: u64,
    unix_millis: i64,
}

impl Counters {
    pub(super) fn new(version: Option<Version>, entries: Vec<Box<str>>) -> Self {
        let state = CountersState {
            shards: Vec::new(),
            retired: vec![EntryCount::default(); entries.len()],
            last_changes: vec![LastChange::default(); entries.len()],
        };
        Self {
            version,
            entries,
            state: Mutex::new(state),
        }
    }

    /// Adds a shard for the calling thread, which must later call [`Counters::retire`].
    pub(super) fn add_shard(&self) -> Arc<Shard> {
        let slots = self.entries.iter().map(|_| Slot::default()).collect();
        let shard = Arc::new(Shard { slots });
        self.state.lock().shards.push(Arc::clone(&shard));
        shard
    }

    /// Removes a shard and keeps its counts. The shard is no longer written.
    pub(super) fn retire(&self, shard: &Arc<Shard>) {
        let mut state = self.state.lock();
        // Under one lock, or a report in between would miss these counts.
        state.shards.retain(|other| !Arc::ptr_eq(other, shard));
        for (total, slot) in state.retired.iter_mut().zip(&shard.slots) {
            total.add(slot.read());
        }
    }

    /// The sum over all entries.
    pub(super) fn decisions(&self) -> Decisions {
        let mut decisions = Decisions::default();
        for total in self.state.lock().totals() {
            decisions.started += total.started;
            decisions.sampled += total.sampled;
        }
        decisions
    }

    /// The counts, without entries that have none. The time of the last decision is the time
    /// of the first call that sees it: reading the clock at each would cost as much as deciding.
    pub(super) fn report(&self) -> Vec<wire::Count> {
        let Some(version) = self.version else {
            return Vec::new();
        };
        let now = Timestamp::now().as_millisecond();
        let mut state = self.state.lock();
        let totals = state.totals();
        let counted = self.entries.iter().zip(totals).zip(&mut state.last_changes);
        counted
            .filter(|((_, total), _)| total.started > 0)
            .map(|((operation, total), last_change)| {
                if last_change.started != total.started {
                    *last_change = LastChange {
                        started: total.started,
                        unix_millis: now,
                    };
                }
                wire::Count {
                    version: Some(to_wire(version)),
                    operation: operation.to_string(),
                    first_unix_millis: total.first_unix_millis,
                    last_unix_millis: last_change.unix_millis.max(total.first_unix_millis),
                    started: total.started,
                    sampled: total.sampled,
                }
            })
            .collect()
    }
}

impl Shard {
    /// Counts a decision of the owning thread.
    #[inline]
    pub(super) fn count(&self, entry: usize, sampled: bool) {
        let Some(slot) = self.slots.get(entry) else {
            return;
        };
        // There is one writer, so a plain load and store are enough, without a locked instruction.
        let started = slot.started.load(Relaxed);
        if started == 0 {
            let now = Timestamp::now().as_millisecond();
            slot.first_unix_millis.store(now, Relaxed);
        }
        slot.started.store(started + 1, Relaxed);
        if sampled {
            slot.sampled.store(slot.sampled.load(Relaxed) + 1, Relaxed);
        }
    }
}

impl Slot {
    fn read(&self) -> EntryCount {
        // Read in the opposite order of writing, so that a kept decision is mostly counted as
        // started too; `min` covers processors that reorder the two.
        let sampled = self.sampled.load(Relaxed);
        let started = self.started.load(Relaxed);
        EntryCount {
            started,
            sampled: sampled.min(started),
            first_unix_millis: self.first_unix_millis.load(Relaxed),
        }
    }
}

impl CountersState {
    fn totals(&self) -> Vec<EntryCount> {
        let mut totals = self.retired.clone();
        for shard in &self.shards {
            for (total, slot) in totals.iter_mut().zip(&shard.slots) {
                total.add(slot.read());
            }
        }
        totals
    }
}

impl EntryCount {
    fn add(&mut self, other: Self) {
        if other.started == 0 {
            return;
        }
        self.first_unix_millis = if self.started == 0 {
            other.first_unix_millis
        } else {
            self.first_unix_millis.min(other.first_unix_millis)
        };
        self.started += other.started;
        self.sampled += other.sampled;
    }
}
