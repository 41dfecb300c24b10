//! What all that was found means: pure, and can't fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use spoor_api::{SamplingPolicyStatus, status::Condition};
use spoor_control::Instance;
use spoor_policy::{Digest, Namespace, Policy, PolicyKey, Resolution, ServiceName, resolve};
use spoor_status::{Findings, TailRules};

use super::{
    evidence::PolicyEvidence,
    objects::{PolicyObject, StackState},
    sources::Snapshot,
};

/// A service in a namespace.
pub(super) type Service = (Namespace, ServiceName);

/// What a resolution depends on, beside the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ResolutionInputs {
    pub(super) policies: Vec<Policy>,
    pub(super) instances: Vec<Instance>,
}

/// What is to be published and said.
#[derive(Clone, Debug, Default)]
pub(super) struct ResolvedPolicies {
    pub(super) inputs: ResolutionInputs,
    pub(super) resolution: Resolution,
    /// How far each namespace's tail rules have come.
    tails: BTreeMap<Namespace, TailRules>,
    /// The namespaces' tail rules, as stacks name those in force.
    digests: BTreeMap<Namespace, Digest>,
}

impl ResolutionInputs {
    /// Of what was found; `connected` are the services of which a client has a stream or polls.
    pub(super) fn of(snapshot: &Snapshot, connected: &BTreeSet<Service>) -> Self {
        let policies = snapshot.policies.iter();
        let policies: Vec<Policy> = policies
            .filter_map(|found| found.policy.as_ref().ok().cloned())
            .collect();
        let instances = instances(snapshot, &policies, connected);
        Self {
            policies,
            instances,
        }
    }
}

impl ResolvedPolicies {
    /// Resolves everything.
    pub(super) fn new(
        inputs: ResolutionInputs,
        stacks: &[Arc<StackState>],
        now: Timestamp,
    ) -> Self {
        let resolution = resolve(&inputs.policies, now);
        let with_tail = inputs.policies.iter().filter(|it| it.tail().is_some());
        let namespaces: BTreeSet<&Namespace> =
            with_tail.map(|policy| &policy.key().namespace).collect();
        let digests: BTreeMap<Namespace, Digest> = namespaces
            .into_iter()
            .map(|namespace| (namespace.clone(), resolution.tail.digest(namespace)))
            .collect();
        Self {
            tails: tails(&digests, stacks),
            digests,
            resolution,
            inputs,
        }
    }

    /// Whether resolving these at that time would give the same.
    pub(super) fn is_current_for(&self, inputs: &ResolutionInputs, now: Timestamp) -> bool {
        self.inputs == *inputs && self.resolution.next_expiry.is_none_or(|end| now < end)
    }

    /// The same with stacks that have come further; none if they haven't.
    pub(super) fn with_stacks(&self, stacks: &[Arc<StackState>]) -> Option<Self> {
        let tails = tails(&self.digests, stacks);
        (tails != self.tails).then(|| Self {
            tails,
            ..self.clone()
        })
    }

    /// What is to be said of a policy; none before it was resolved.
    pub(super) fn status(
        &self,
        found: &PolicyObject,
        known: impl FnOnce(&PolicyKey) -> PolicyEvidence,
        previous: &[Condition],
        now: Timestamp,
    ) -> Option<SamplingPolicyStatus> {
        let policy = match &found.policy {
            Ok(policy) => policy,
            Err(reasons) => {
                let status = spoor_status::invalid(reasons, found.generation, previous, now);
                return Some(status);
            }
        };
        let outcome = self.resolution.outcomes.get(policy.key())?;
        let known = known(policy.key());
        let tail = self.tails.get(&policy.key().namespace);
        let findings = Findings {
            policy,
            generation: found.generation,
            outcome,
            evidence: known.evidence.as_ref(),
            tail: tail.cloned().unwrap_or(TailRules::NoTracingStack),
            known: &known.services,
            notes: &known.notes,
            previous,
            now,
        };
        Some(findings.status())
    }
}

/// How far each namespace's tail rules have come.
fn tails(
    digests: &BTreeMap<Namespace, Digest>,
    stacks: &[Arc<StackState>],
) -> BTreeMap<Namespace, TailRules> {
    let tails = digests.iter().map(|(namespace, digest)| {
        let own = stacks.iter().filter(|stack| stack.namespace == *namespace);
        let digest = digest.to_string();
        let rules = TailRules::across(own.map(|stack| stack.tail_rules(&digest)));
        (namespace.clone(), rules)
    });
    tails.collect()
}

impl StackState {
    fn tail_rules(&self, digest: &str) -> TailRules {
        let name = self.name.clone();
        if self.wants_direct {
            TailRules::RouteIsDirect(name)
        } else if !self.has_own_collector {
            TailRules::CollectorNotManaged(name)
        } else if self.is_through_collector && self.tail_digest.as_deref() == Some(digest) {
            TailRules::InForce
        } else {
            TailRules::RollingOut(name)
        }
    }
}

/// The pods that should take policies: Ready, and meant for it, or of a service that a policy
/// names or a client has come from.
fn instances(
    snapshot: &Snapshot,
    policies: &[Policy],
    connected: &BTreeSet<Service>,
) -> Vec<Instance> {
    let targets = policies.iter().flat_map(|policy| {
        let services = policy.targets().iter().map(|target| &target.service);
        services.map(|service| (&policy.key().namespace, service))
    });
    let connected = connected
        .iter()
        .map(|(namespace, service)| (namespace, service));
    let named: BTreeSet<(&Namespace, &ServiceName)> = targets.chain(connected).collect();
    let expected = snapshot.pods.iter().filter_map(|pod| {
        let service = pod.service.as_ref()?;
        let is_expected =
            pod.is_ready && (pod.has_spoor_label || named.contains(&(&pod.namespace, service)));
        is_expected.then(|| Instance {
            namespace: pod.namespace.clone(),
            service: service.clone(),
            id: pod.name.clone(),
        })
    });
    expected.collect()
}

#[cfg(test)]
mod tests;
