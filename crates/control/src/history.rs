//! The latest plans of one service, with the counts under each.

use std::{collections::VecDeque, sync::Arc};

use spoor_policy::{OperationName, Plan, PolicyName, Strategy, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counts::{CountKey, Counts};

/// The most plans of one service that are remembered.
///
/// Counts under older plans are ignored.
const MAX_PLANS: usize = 32;

/// The approximate memory for a phase of a plan, and for each of its operations without the names of
/// the operation and its policy, in bytes.
const ENTRY_BYTES: usize = 64;

/// The most memory for the remembered plans of all services, in bytes.
pub(crate) const MAX_PLAN_BYTES: usize = 64 << 20;

/// The latest plans of one service, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<PlanCounts>);

/// A plan, and the decisions that all processes have made under it.
#[derive(Debug)]
struct PlanCounts {
    version: Version,
    plan: Plan,
    counts: Counts,
    /// The plan's part of the room for the plans of all services, if there was enough.
    room: Option<OwnedSemaphorePermit>,
}

impl History {
    /// Adds a plan, and removes the oldest ones until it fits in `room`, which is for the plans of all
    /// services, in bytes.
    pub(crate) fn push(&mut self, version: Version, plan: Plan, room: &Arc<Semaphore>) {
        // A plan without room is kept only while it is the newest. The newest plans are bounded by
        // the policies in force.
        self.0.retain(|past| past.room.is_some());
        // The oldest counts are removed with their plan: without it, they cannot be attributed.
        if self.0.len() == MAX_PLANS {
            self.0.pop_front();
        }
        let mut reserved = reserve(&plan, room);
        while reserved.is_none() && self.0.pop_front().is_some() {
            reserved = reserve(&plan, room);
        }
        self.0.push_back(PlanCounts {
            version,
            plan,
            counts: Counts::default(),
            room: reserved,
        });
    }

    /// Removes all plans but the newest.
    pub(crate) fn keep_newest(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(1));
    }

    /// Replaces the newest plan by one with the same strategies under other policy names.
    ///
    /// Renaming a policy does not create a new version, since digests do not include names. But
    /// counts must be attributed to the new name.
    pub(crate) fn rename_policies(&mut self, plan: &Plan, room: &Arc<Semaphore>) {
        if let Some(newest) = self.0.back_mut()
            && newest.plan != *plan
        {
            newest.plan = plan.clone();
            // Released first, since there may be no room for both. The new plan may be larger, with a
            // phase for each policy.
            newest.room = None;
            newest.room = reserve(plan, room);
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
        // A publication that does not change the plan adds no entry, so the plan in force may have an
        // older version.
        let in_force = |version| self.0.iter().rposition(|past| past.version <= version);
        let from = version.and_then(in_force).unwrap_or_default();
        let mut sum = Counts::default();
        for past in self.0.iter().skip(from) {
            sum += past.counts;
        }
        sum
    }
}

/// Reserves the approximate memory of a plan, if there is room.
fn reserve(plan: &Plan, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let phases = plan.phases().iter().map(|phase| {
        let operations = phase.strategies.operations.iter();
        let operations = operations.map(|(name, assigned)| {
            ENTRY_BYTES + name.as_str().len() + assigned.policy.as_str().len()
        });
        ENTRY_BYTES + operations.sum::<usize>()
    });
    let bytes = u32::try_from(phases.sum::<usize>()).ok()?;
    Arc::clone(room).try_acquire_many_owned(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(sequence: u64) -> Version {
        Version { epoch: 1, sequence }
    }

    #[test]
    fn oldest_plans_are_removed_to_make_room() {
        let room = Arc::new(Semaphore::new(3 * ENTRY_BYTES));
        let push = |history: &mut History, sequence| {
            history.push(version(sequence), Plan::default(), &room);
            history.oldest()
        };
        let (mut first, mut second) = (History::default(), History::default());
        assert_eq!(
            [1, 2, 3, 4, 5].map(|it| push(&mut first, it)),
            [1, 1, 1, 2, 3]
        );
        // The newest plan is kept without room, but only while it is the newest.
        assert_eq!([6, 7].map(|it| push(&mut second, it)), [6, 7]);
        first.keep_newest();
        assert_eq!(first.oldest(), 5);
        assert_eq!([8, 9, 10].map(|it| push(&mut second, it)), [8, 8, 9]);
        assert!(second.plan(version(9)).is_some());
        assert!(second.plan(version(7)).is_none());
        drop((first, second));
        assert_eq!(room.available_permits(), 3 * ENTRY_BYTES);
    }

    #[test]
    fn plans_of_one_service_are_bounded() {
        let room = Arc::new(Semaphore::new(1 << 20));
        let mut history = History::default();
        for sequence in 1..=100 {
            history.push(version(sequence), Plan::default(), &room);
        }
        assert_eq!((history.0.len(), history.oldest()), (MAX_PLANS, 69));
    }
}
