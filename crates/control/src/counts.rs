//! Counts of root decisions, and the plan entries and policies that they belong to.
//!
//! The architecture page lists the forms that a count takes from the sampler to the status.

use std::{ops::AddAssign, time::Duration};

use spoor_policy::{OperationName, PolicyName, Strategy};

/// The most root decisions a second that a report may claim for one process.
///
/// No process decides this often; a report that claims more is wrong or forged.
pub(crate) const MAX_DECISIONS_PER_SECOND: u64 = 100_000_000;

/// Root decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All root decisions.
    pub started: u64,
    /// The decisions that keep the trace.
    pub sampled: u64,
}

/// An entry of a plan: an operation that the plan names, or `None` for all others.
pub(crate) type PlanEntry = Option<OperationName>;

/// A plan entry at one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CountKey {
    pub(crate) sequence: u64,
    pub(crate) operation: PlanEntry,
}

/// The increase of one count from one report of a process to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CountDelta {
    pub(crate) key: CountKey,
    /// The phase of the plan in which the decisions were made; `None` if they may belong to
    /// several phases.
    pub(crate) phase: Option<usize>,
    pub(crate) counts: Counts,
}

/// An increase together with the policy that decided it.
#[derive(Debug)]
pub(crate) struct AttributedCounts {
    pub(crate) policy: PolicyName,
    pub(crate) strategy: Strategy,
    pub(crate) operation: PlanEntry,
    pub(crate) counts: Counts,
}

impl Counts {
    /// The counts that fall in a part of the time that they cover.
    pub(crate) fn part(self, part: Duration, total: Duration) -> Self {
        let (part, total) = (part.as_nanos(), total.as_nanos());
        let of = |count: u64| match total {
            0 => count,
            // In 128 bits, since counts times nanoseconds exceed 64.
            _ => u64::try_from(u128::from(count) * part / total).unwrap_or(count),
        };
        Self {
            started: of(self.started),
            sampled: of(self.sampled),
        }
    }

    /// The increase since earlier counts.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            started: self.started.saturating_sub(before.started),
            sampled: self.sampled.saturating_sub(before.sampled),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.started = self.started.saturating_add(other.started);
        self.sampled = self.sampled.saturating_add(other.sampled);
    }
}
