//! The cumulative counts of one process: checks what it reports, and turns it into increases.

use std::{
    collections::{
        BTreeMap,
        btree_map::Entry::{Occupied, Vacant},
    },
    sync::Arc,
};

use jiff::Timestamp;
use spoor_policy::{OperationName, Plan, PolicyPhase};
use spoor_proto::spoor::control::v1 as proto;
use tokio::sync::Semaphore;

use crate::{
    counts::{CountDelta, CountKey, Counts, PlanEntry},
    history::History,
    rejection::Rejection,
    reservation::Reservation,
    served_plan,
};

/// The part of the room for counts that is reserved for processes with few of them: enough for 3,000
/// processes with [`MAX_FEW_COUNTS`] each.
const RESERVED_COUNTS: usize = 100_000;

/// The most counts of a process that may take the reserved part of the room.
const MAX_FEW_COUNTS: usize = 32;

/// A process may hold at most the free room that is not reserved, divided by this, so that even dozens
/// of processes leave room for others. This share shrinks as the room fills, as in switches that share
/// a buffer between ports (Choudhury and Hahne, "Dynamic Queue Length Thresholds", 1998).
const SHARE_DIVISOR: usize = 16;

/// The counts that one process has reported since it started.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    counts: BTreeMap<CountKey, CumulativeCount>,
    /// The part of [`ReportContext::room`] that the counts take.
    room: Reservation,
    /// The newest sequence when a process reconnected after its record had been removed. The sums
    /// already include its counts until then, so the first report of each count under this sequence
    /// is only a baseline.
    resumed: Option<u64>,
    /// Counts under plans before this sequence have been forgotten, and are ignored.
    oldest: u64,
}

/// A count as last reported.
#[derive(Clone, Copy, Debug)]
struct CumulativeCount {
    counts: Counts,
    /// The plan's phases of the first and of the last decision.
    phases: (usize, usize),
}

/// The context that a report is checked against.
pub(crate) struct ReportContext<'a> {
    pub(crate) epoch: u64,
    pub(crate) history: &'a History,
    /// The sequences sent to this process.
    pub(crate) sent: &'a [u64],
    /// The most decisions that the process can have made by now.
    pub(crate) max_started: u64,
    /// The room for the counts of all processes.
    pub(crate) room: &'a Arc<Semaphore>,
}

impl Ledger {
    /// A ledger for a process whose record has been removed.
    pub(crate) fn resume_at(sequence: u64) -> Self {
        Self {
            resumed: Some(sequence),
            ..Self::default()
        }
    }

    /// Applies a report, either entirely or not at all, and returns the increases.
    ///
    /// Counts under versions of another epoch, or older than the history, are ignored rather than
    /// rejected: they are valid, but the policy that decided them is no longer known. If there is no
    /// room for all counts, only those under the newest plan are kept: the increases of
    /// the others are returned this time, and those counts are ignored from then on.
    pub(crate) fn apply(
        &mut self,
        counts: &[proto::Count],
        context: &ReportContext<'_>,
    ) -> Result<Vec<CountDelta>, Rejection> {
        // Bounded by the history: counts of older plans are never read again.
        self.forget_before(context.history.oldest());
        let mut reported: BTreeMap<CountKey, CumulativeCount> = BTreeMap::new();
        for count in counts {
            if let Some((key, count)) = self.read(count, context)? {
                match reported.entry(key) {
                    Vacant(entry) => {
                        entry.insert(count);
                    }
                    Occupied(mut entry) => entry.get_mut().merge(count)?,
                }
            }
        }
        // Nothing is stored before all counts are checked.
        let mut deltas = vec![];
        for (key, now) in &reported {
            deltas.extend(self.delta(key, now, context.max_started)?);
        }
        if !self.try_reserve(&reported, context.room) {
            // The newest counts may have come in an earlier message: clients divide long reports.
            let keys = self.counts.keys().next_back().into_iter();
            let newest = keys.chain(reported.keys()).map(|key| key.sequence).max();
            self.forget_before(newest.unwrap_or_default());
            reported.retain(|key, _| key.sequence >= self.oldest);
            if !self.try_reserve(&reported, context.room) {
                return Err(Rejection::TooManyCounts);
            }
        }
        self.counts.extend(reported);
        Ok(deltas)
    }

    /// The operations of all counts, some of them several times.
    pub(crate) fn operations(&self) -> impl ExactSizeIterator<Item = &PlanEntry> {
        self.counts.keys().map(|key| &key.operation)
    }

    /// Reserves room for the counts of a report, unless the process would then hold more than its
    /// share.
    fn try_reserve(
        &mut self,
        reported: &BTreeMap<CountKey, CumulativeCount>,
        room: &Arc<Semaphore>,
    ) -> bool {
        let is_new = |key: &&CountKey| !self.counts.contains_key(*key);
        let new = reported.keys().filter(is_new).count();
        let needed = self.counts.len() + new;
        let free = room.available_permits().saturating_sub(RESERVED_COUNTS);
        let is_fair = new == 0 || needed <= MAX_FEW_COUNTS.max(free / SHARE_DIVISOR);
        is_fair && self.room.grow_to(needed, room).is_ok()
    }

    /// Removes the counts under plans before this sequence, which are ignored from now on.
    fn forget_before(&mut self, sequence: u64) {
        self.oldest = self.oldest.max(sequence);
        let oldest = self.oldest;
        // Keys begin with the sequence, so most reports remove none and need not visit all.
        let is_old = |(key, _): (&CountKey, &CumulativeCount)| key.sequence < oldest;
        if self.counts.first_key_value().is_some_and(is_old) {
            self.counts.retain(|key, _| key.sequence >= oldest);
        }
        self.room.shrink_to(self.counts.len());
    }

    fn read(
        &self,
        count: &proto::Count,
        context: &ReportContext<'_>,
    ) -> Result<Option<(CountKey, CumulativeCount)>, Rejection> {
        let version =
            served_plan::version_from_proto(count.version.as_ref()).ok_or(Rejection::NoVersion)?;
        if count.sampled > count.started {
            return Err(Rejection::SampledOverStarted);
        }
        let sequence = version.sequence;
        if version.epoch != context.epoch || sequence < self.oldest {
            return Ok(None);
        }
        if !context.sent.contains(&sequence) {
            // A process that was forgotten also reports old versions, for which there is no record
            // that they were sent.
            return match self.resumed {
                Some(resumed) if sequence < resumed => Ok(None),
                _ => Err(Rejection::NeverSent),
            };
        }
        let Some(plan) = context.history.plan(version) else {
            return Ok(None);
        };
        // The plan's copy of the name, so that all processes share its memory.
        let name = count.operation.as_str();
        let mut phases = plan.phases().iter();
        let named = phases.find_map(|phase| phase.strategies.operations.get_key_value(name));
        let operation = named.map(|(name, _)| name.clone());
        if operation.is_none() && !name.is_empty() {
            return Err(Rejection::UnknownOperation);
        }
        let first = phase(plan, count.first_unix_millis, operation.as_ref())?;
        let last = phase(plan, count.last_unix_millis, operation.as_ref())?;
        let key = CountKey {
            sequence,
            operation,
        };
        let cumulative = CumulativeCount {
            counts: Counts {
                started: count.started,
                sampled: count.sampled,
            },
            phases: (first, last.max(first)),
        };
        Ok(Some((key, cumulative)))
    }

    fn delta(
        &self,
        key: &CountKey,
        now: &CumulativeCount,
        max_started: u64,
    ) -> Result<Option<CountDelta>, Rejection> {
        if now.counts.started > max_started {
            return Err(Rejection::Implausible);
        }
        let (before, since) = match self.counts.get(key) {
            Some(before) => (before.counts, before.phases.1),
            // It may include decisions that were added before the process was forgotten.
            None if self.resumed == Some(key.sequence) => return Ok(None),
            None => (Counts::default(), now.phases.0),
        };
        let counts = match (
            now.counts.started.checked_sub(before.started),
            now.counts.sampled.checked_sub(before.sampled),
        ) {
            (Some(started), Some(sampled)) => Counts { started, sampled },
            _ => return Err(Rejection::Decreased),
        };
        let until = now.phases.1;
        Ok((counts != Counts::default()).then(|| CountDelta {
            key: key.clone(),
            // Across phases it is unknown which policy decided how many, so they are not
            // attributed.
            phase: (since == until).then_some(until),
            counts,
        }))
    }
}

impl CumulativeCount {
    /// Adds another count with the same key.
    fn merge(&mut self, other: Self) -> Result<(), Rejection> {
        let add = |one: u64, other: u64| one.checked_add(other).ok_or(Rejection::Implausible);
        self.counts.started = add(self.counts.started, other.counts.started)?;
        self.counts.sampled = add(self.counts.sampled, other.counts.sampled)?;
        self.phases.0 = self.phases.0.min(other.phases.0);
        self.phases.1 = self.phases.1.max(other.phases.1);
        Ok(())
    }
}

/// The phase in force at a time. If it does not have the operation, the first phase that does:
/// the process's clock may differ from ours near a phase's end.
fn phase(
    plan: &Plan,
    unix_millis: i64,
    operation: Option<&OperationName>,
) -> Result<usize, Rejection> {
    let phases = plan.phases();
    let has = |at: usize| match (phases.get(at), operation) {
        (Some(phase), Some(operation)) => phase.strategies.operations.contains_key(operation),
        (phase, None) => phase.is_some(),
        (None, Some(_)) => false,
    };
    let is_in_force = |phase: &PolicyPhase| {
        let until = phase.until.map(Timestamp::as_millisecond);
        until.is_none_or(|until| unix_millis < until)
    };
    let in_force = phases.iter().position(is_in_force).unwrap_or_default();
    if has(in_force) {
        return Ok(in_force);
    }
    (0..phases.len())
        .find(|at| has(*at))
        .ok_or(Rejection::UnknownOperation)
}

#[cfg(test)]
mod tests;
