//! An instance's cumulative counts: believed only as far as they can be true, and turned into
//! what is new.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spoor_policy::{OperationName, Plan, Version};
use spoor_proto::spoor::control::v1 as proto;

use crate::{Counts, service::History};

/// No process makes more root decisions a second.
pub(crate) const MAX_DECISIONS_PER_SECOND: u64 = 100_000_000;

/// What one instance has reported since it started.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Entry, Counts>,
    /// The newest version when an instance came back that had been forgotten: what it counted
    /// until then was added up before.
    resumed: Option<u64>,
}

/// What a count is of: a phase's entry, the default where no operation is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) phase: usize,
    pub(crate) operation: Option<OperationName>,
}

/// What is new of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) entry: Entry,
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
        let mut reported: BTreeMap<Entry, (Counts, usize)> = BTreeMap::new();
        for count in counts {
            let Some((entry, owner)) = self.entry(count, bounds)? else {
                continue;
            };
            let (sum, last_owner) = reported.entry(entry).or_default();
            *last_owner = owner.max(*last_owner);
            sum.started = sum
                .started
                .checked_add(count.started)
                .ok_or(Rejection::Implausible)?;
            sum.sampled = sum
                .sampled
                .checked_add(count.sampled)
                .ok_or(Rejection::Implausible)?;
        }
        let mut deltas = vec![];
        for (entry, (now, owner)) in &reported {
            if let Some(counts) = self.delta(entry, *now, bounds.most)? {
                let entry = Entry {
                    phase: *owner,
                    ..entry.clone()
                };
                deltas.push(Delta { entry, counts });
            }
        }
        for (entry, (now, _)) in reported {
            self.entries.insert(entry, now);
        }
        let oldest = bounds.history.oldest();
        self.entries.retain(|entry, _| entry.sequence >= oldest);
        Ok(deltas)
    }

    /// What a count is of, and the phase that its newest decisions belong to.
    fn entry(
        &self,
        count: &proto::Count,
        bounds: &Bounds<'_>,
    ) -> Result<Option<(Entry, usize)>, Rejection> {
        let version = count.version.ok_or(Rejection::NoVersion)?;
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
        let version = Version {
            epoch: version.epoch,
            sequence,
        };
        let Some(plan) = bounds.history.plan(version) else {
            return Ok(None);
        };
        let operation = match count.operation.as_str() {
            "" => None,
            name => Some(OperationName::new(name).map_err(|_| Rejection::UnknownOperation)?),
        };
        let key = phase(plan, count.first_unix_millis, operation.as_ref())?;
        let owner = phase(plan, count.last_unix_millis, operation.as_ref())?.max(key);
        let entry = Entry {
            sequence,
            phase: key,
            operation,
        };
        Ok(Some((entry, owner)))
    }

    fn delta(&self, entry: &Entry, now: Counts, most: u64) -> Result<Option<Counts>, Rejection> {
        if now.started > most {
            return Err(Rejection::Implausible);
        }
        let before = match self.entries.get(entry) {
            Some(before) => *before,
            None if self.resumed == Some(entry.sequence) => return Ok(None),
            None => Counts::default(),
        };
        match (
            now.started.checked_sub(before.started),
            now.sampled.checked_sub(before.sampled),
        ) {
            (Some(started), Some(sampled)) => {
                Ok(Some(Counts { started, sampled }).filter(|counts| *counts != Counts::default()))
            }
            _ => Err(Rejection::Decreased),
        }
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
