//! The latest plans of one service, with the counts under each.

use std::collections::VecDeque;

use spoor_policy::{OperationName, Plan, PolicyName, Strategy, Version};

use crate::counts::{CountKey, Counts};

/// The most plans of one service that are remembered.
///
/// Counts under older plans are ignored.
const MAX_PLANS: usize = 32;

/// The latest plans of one service, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<PlanCounts>);

/// A plan, and the decisions that all processes have made under it.
#[derive(Debug)]
struct PlanCounts {
    version: Version,
    plan: Plan,
    counts: Counts,
}

impl History {
    pub(crate) fn push(&mut self, version: Version, plan: Plan) {
        // The oldest counts are removed with their plan: without it, they cannot be attributed.
        if self.0.len() == MAX_PLANS {
            self.0.pop_front();
        }
        self.0.push_back(PlanCounts {
            version,
            plan,
            counts: Counts::default(),
        });
    }

    /// Replaces the newest plan by one with the same strategies under other policy names.
    ///
    /// Renaming a policy makes no new version, since digests do not include names. But counts must
    /// be attributed to the new name.
    pub(crate) fn rename_policies(&mut self, plan: &Plan) {
        if let Some(newest) = self.0.back_mut()
            && newest.plan != *plan
        {
            newest.plan = plan.clone();
        }
    }

    /// The sequence of the oldest plan remembered, or 0.
    pub(crate) fn oldest(&self) -> u64 {
        self.0.front().map_or(0, |past| past.version.sequence)
    }

    pub(crate) fn plan(&self, version: Version) -> Option<&Plan> {
        let mut newest_first = self.0.iter().rev();
        let past = newest_first.find(|past| past.version == version)?;
        Some(&past.plan)
    }

    /// Adds counts, and returns the policy and strategy that decided them, if known.
    pub(crate) fn add(
        &mut self,
        key: &CountKey,
        phase: Option<usize>,
        counts: Counts,
    ) -> Option<(PolicyName, Strategy)> {
        let past = self
            .0
            .iter_mut()
            .find(|past| past.version.sequence == key.sequence)?;
        past.counts += counts;
        let strategies = &past.plan.phases().get(phase?)?.strategies;
        let assigned = match &key.operation {
            Some(operation) => strategies.operations.get(operation),
            None => strategies.default.as_ref(),
        }?;
        Some((assigned.policy.clone(), assigned.strategy))
    }

    /// The root decisions under the plans that name an operation.
    pub(crate) fn roots_where_named(&self, operation: &OperationName) -> u64 {
        let names = |past: &&PlanCounts| {
            let mut phases = past.plan.phases().iter();
            phases.any(|phase| phase.strategies.operations.contains_key(operation))
        };
        let roots = self.0.iter().filter(names).map(|past| past.counts.started);
        roots.fold(0, u64::saturating_add)
    }

    /// The counts under the plan in force at a version and under all later ones. Without a version,
    /// the counts under all plans remembered.
    pub(crate) fn counts_since(&self, version: Option<Version>) -> Counts {
        // A publication that does not change the plan makes no entry, so the plan in force may have
        // an older version.
        let in_force = |version| self.0.iter().rposition(|past| past.version <= version);
        let from = version.and_then(in_force).unwrap_or_default();
        let mut sum = Counts::default();
        for past in self.0.iter().skip(from) {
            sum += past.counts;
        }
        sum
    }
}
