//! An instance's cumulative counts: believed only as far as they can be true, and turned into
//! what is new.

use std::collections::{
    BTreeMap,
    btree_map::Entry::{Occupied, Vacant},
};

use jiff::Timestamp;
use spoor_policy::{OperationName, Plan};
use spoor_proto::spoor::control::v1 as proto;

use crate::{Counts, served, service::History};

/// No process makes more root decisions a second.
pub(crate) const MAX_DECISIONS_PER_SECOND: u64 = 100_000_000;

/// What one instance has reported since it started.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Entry, Known>,
    /// The newest version when an instance came back that had been forgotten: what it counted
    /// until then was added up before.
    resumed: Option<u64>,
}

/// What a count is of: an operation of a version's plan, or all that it does not name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) operation: Option<OperationName>,
}

/// The last that was heard of an entry.
#[derive(Clone, Copy, Debug)]
struct Known {
    counts: Counts,
    /// The phases of the first and of the last decision.
    phases: (usize, usize),
}

/// What is new of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) entry: Entry,
    /// The plan's phase in which it was decided; none if it may have been in several.
    pub(crate) phase: Option<usize>,
    pub(crate) counts: Counts,
}

/// Why a message is not believed. Nothing of it is taken then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("a message without a version")]
    NoVersion,
    #[error("a version that was never sent to this instance")]
    NeverSent,
    #[error("an operation that the plan does not have")]
    UnknownOperation,
    #[error("more traces sampled than started")]
    SampledOverStarted,
    #[error("a count that is smaller than before")]
    Decreased,
    #[error("more decisions than a process can make")]
    Implausible,
}

impl Rejection {
    /// A label's value.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoVersion => "NoVersion",
            Self::NeverSent => "NeverSent",
            Self::UnknownOperation => "UnknownOperation",
            Self::SampledOverStarted => "SampledOverStarted",
            Self::Decreased => "Decreased",
            Self::Implausible => "Implausible",
        }
    }
}

/// What counts are held against.
pub(crate) struct Bounds<'a> {
    pub(crate) epoch: u64,
    pub(crate) history: &'a History,
    /// The sequences sent to this instance.
    pub(crate) sent: &'a [u64],
    /// The most decisions that it can have made by now.
    pub(crate) most: u64,
}

impl Ledger {
    /// For an instance that was known to this control plane before, and forgotten.
    pub(crate) fn resumed_at(sequence: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            resumed: Some(sequence),
        }
    }

    /// Takes a report, whole or not at all, and says what is new in it.
    ///
    /// Counts of another epoch's versions and of versions that are long gone are passed over:
    /// they are no lie, but nobody knows any more whose they are.
    pub(crate) fn take(
        &mut self,
        counts: &[proto::Count],
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Delta>, Rejection> {
        let mut reported: BTreeMap<Entry, Known> = BTreeMap::new();
        for count in counts {
            if let Some((entry, known)) = self.entry(count, bounds)? {
                match reported.entry(entry) {
                    Vacant(place) => {
                        place.insert(known);
                    }
                    Occupied(mut place) => place.get_mut().merge(known)?,
                }
            }
        }
        let mut deltas = vec![];
        for (entry, now) in &reported {
            deltas.extend(self.delta(entry, now, bounds.most)?);
        }
        self.entries.extend(reported);
        let oldest = bounds.history.oldest();
        self.entries.retain(|entry, _| entry.sequence >= oldest);
        Ok(deltas)
    }

    fn entry(
        &self,
        count: &proto::Count,
        bounds: &Bounds<'_>,
    ) -> Result<Option<(Entry, Known)>, Rejection> {
        let version = served::from_proto(count.version.as_ref()).ok_or(Rejection::NoVersion)?;
        if count.sampled > count.started {
            return Err(Rejection::SampledOverStarted);
        }
        let sequence = version.sequence;
        if version.epoch != bounds.epoch || sequence < bounds.history.oldest() {
            return Ok(None);
        }
        if !bounds.sent.contains(&sequence) {
            return match self.resumed {
                Some(resumed) if sequence < resumed => Ok(None),
                _ => Err(Rejection::NeverSent),
            };
        }
        let Some(plan) = bounds.history.plan(version) else {
            return Ok(None);
        };
        let operation = match count.operation.as_str() {
            "" => None,
            name => Some(OperationName::new(name).map_err(|_| Rejection::UnknownOperation)?),
        };
        let first = phase(plan, count.first_unix_millis, operation.as_ref())?;
        let last = phase(plan, count.last_unix_millis, operation.as_ref())?;
        let entry = Entry {
            sequence,
            operation,
        };
        let known = Known {
            counts: Counts {
                started: count.started,
                sampled: count.sampled,
            },
            phases: (first, last.max(first)),
        };
        Ok(Some((entry, known)))
    }

    fn delta(&self, entry: &Entry, now: &Known, most: u64) -> Result<Option<Delta>, Rejection> {
        if now.counts.started > most {
            return Err(Rejection::Implausible);
        }
        let (before, since) = match self.entries.get(entry) {
            Some(before) => (before.counts, before.phases.1),
            None if self.resumed == Some(entry.sequence) => return Ok(None),
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
        Ok((counts != Counts::default()).then(|| Delta {
            entry: entry.clone(),
            phase: (since == until).then_some(until),
            counts,
        }))
    }
}

impl Known {
    /// Takes in another count of the same entry.
    fn merge(&mut self, other: Self) -> Result<(), Rejection> {
        let add = |one: u64, other: u64| one.checked_add(other).ok_or(Rejection::Implausible);
        self.counts.started = add(self.counts.started, other.counts.started)?;
        self.counts.sampled = add(self.counts.sampled, other.counts.sampled)?;
        self.phases.0 = self.phases.0.min(other.phases.0);
        self.phases.1 = self.phases.1.max(other.phases.1);
        Ok(())
    }
}

/// The phase that held at a time, or the first other that has the operation: clocks differ.
fn phase(
    plan: &Plan,
    unix_millis: i64,
    operation: Option<&OperationName>,
) -> Result<usize, Rejection> {
    let phases = plan.phases();
    let has = |at: usize| match (phases.get(at), operation) {
        (Some(phase), Some(operation)) => phase.strategies.operations.contains_key(operation),
        (found, None) => found.is_some(),
        (None, Some(_)) => false,
    };
    let held = phases
        .iter()
        .position(|phase| {
            phase
                .until
                .map(Timestamp::as_millisecond)
                .is_none_or(|until| unix_millis < until)
        })
        .unwrap_or_default();
    if has(held) {
        return Ok(held);
    }
    (0..phases.len())
        .find(|at| has(*at))
        .ok_or(Rejection::UnknownOperation)
}

#[cfg(test)]
mod tests;
