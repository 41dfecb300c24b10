//! The progress of a policy towards convergence.

use std::collections::{BTreeMap, BTreeSet};

use spoor_api::{
    SamplingPolicy,
    status::{Condition, ConditionStatus},
};
use spoor_control::Evidence;
use spoor_policy::{PolicyKey, ServiceName};

use super::PolicyStore;

/// A policy's progress towards convergence, from its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The policy.
    pub(crate) key: PolicyKey,
    /// True if the condition `Converged` is true.
    pub(crate) is_converged: bool,
    /// True if it is not, and waiting for instances will not change that.
    pub(crate) is_stuck: bool,
    /// The condition's message.
    pub(crate) message: String,
    /// The services that should have the policy, with the number of their instances.
    pub(crate) instances: BTreeMap<ServiceName, usize>,
}

impl Progress {
    fn of(key: &PolicyKey, policy: &SamplingPolicy, evidence: Option<&Evidence>) -> Self {
        let status = policy.status.as_ref();
        let converged = policy.condition(Condition::CONVERGED);
        let reason = converged.map_or("", |condition| condition.reason.as_str());
        let has_head = status.is_some_and(|status| status.clients.is_some());
        let services = evidence.filter(|_| has_head).map(|it| it.services.iter());
        let instances = services.into_iter().flatten();
        Self {
            key: key.clone(),
            is_converged: converged.is_some_and(|it| it.status == ConditionStatus::True),
            // No acknowledgement changes these: polling clients, for example, never send one.
            is_stuck: matches!(reason, "NotAccepted" | "NoInstances" | "Polling"),
            message: converged.map_or_else(String::new, |it| it.message.clone()),
            instances: instances
                .map(|it| (it.service.clone(), it.instances))
                .collect(),
        }
    }
}

impl PolicyStore {
    /// The progress of each policy that exists.
    pub(crate) fn progress(&self, keys: &BTreeSet<PolicyKey>) -> Vec<Progress> {
        let mut state = self.0.state.lock();
        // One listing of all, in the order of the keys.
        let policies = state.list(&self.0, |key| keys.contains(key));
        let is_found = |key: &&PolicyKey| state.set.get(key).is_some();
        let found: Vec<&PolicyKey> = keys.iter().filter(is_found).collect();
        drop(state);
        let mut evidence = self.0.control.evidence_reader();
        found
            .into_iter()
            .zip(policies)
            .map(|(key, policy)| Progress::of(key, &policy, evidence.read(key).as_ref()))
            .collect()
    }
}
