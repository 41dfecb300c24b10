//! Resolves all policies. Pure, and nothing here can fail.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spoor_api::{SamplingPolicyStatus, status::Condition};
use spoor_control::Instance;
use spoor_policy::{Digest, Namespace, Policy, PolicyKey, Resolution, ServiceName, resolve};
use spoor_status::{PolicyFindings, TailRules};

use super::{
    evidence::PolicyEvidence,
    objects::PolicyObject,
    sources::SourcesSnapshot,
    stack_tails::{StackTails, namespaces_without_rules},
};

/// A service in a namespace.
pub(super) type NamespacedService = (Namespace, ServiceName);

/// The inputs of a resolution, besides the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ResolutionInputs {
    pub(super) policies: Vec<Policy>,
    pub(super) instances: Vec<Instance>,
}

/// The resolved policies: what to publish, and what their statuses depend on.
#[derive(Clone, Debug, Default)]
pub(super) struct ResolvedPolicies {
    pub(super) inputs: ResolutionInputs,
    pub(super) resolution: Resolution,
    /// The stacks that apply each namespace's tail rules.
    tails: BTreeMap<Namespace, StackTails>,
    /// The digest of each namespace's tail rules. A stack's status names the rules in force by it.
    digests: BTreeMap<Namespace, Digest>,
    /// The namespaces whose samplers should have no rules at present.
    without_rules: BTreeSet<Namespace>,
}

impl ResolutionInputs {
    /// Derives the inputs. `connected` are the services for which a client has opened a stream.
    pub(super) fn of(snapshot: &SourcesSnapshot, connected: &BTreeSet<NamespacedService>) -> Self {
        let policies = snapshot.policies.iter();
        let policies: Vec<Policy> = policies
            .filter_map(|object| object.policy.as_ref().ok().cloned())
            .collect();
        let instances = instances(snapshot, &policies, connected);
        Self {
            policies,
            instances,
        }
    }
}

impl ResolvedPolicies {
    /// Resolves the policies.
    pub(super) fn new(
        inputs: ResolutionInputs,
        snapshot: &SourcesSnapshot,
        now: Timestamp,
    ) -> Self {
        let resolution = resolve(&inputs.policies, now);
        // Only these namespaces: a stack in any other one has no tail rules to wait for.
        let with_tail = inputs.policies.iter().filter(|it| it.tail.is_some());
        let namespaces: BTreeSet<&Namespace> =
            with_tail.map(|policy| &policy.key.namespace).collect();
        let digest = |namespace: &Namespace| (namespace.clone(), resolution.tail.digest(namespace));
        let digests: BTreeMap<Namespace, Digest> = namespaces.into_iter().map(digest).collect();
        Self {
            tails: StackTails::of(&digests, snapshot),
            digests,
            without_rules: namespaces_without_rules(snapshot),
            resolution,
            inputs,
        }
    }

    /// Returns true if resolving these inputs at that time would give the same result.
    pub(super) fn is_current_for(&self, inputs: &ResolutionInputs, now: Timestamp) -> bool {
        self.inputs == *inputs && self.resolution.next_expiry.is_none_or(|end| now < end)
    }

    /// The same resolution with the present state of stacks and their samplers. None if that has
    /// not changed.
    pub(super) fn with_stacks(&self, snapshot: &SourcesSnapshot) -> Option<Self> {
        let tails = StackTails::of(&self.digests, snapshot);
        let without_rules = namespaces_without_rules(snapshot);
        let is_same = tails == self.tails && without_rules == self.without_rules;
        (!is_same).then(|| Self {
            tails,
            without_rules,
            ..self.clone()
        })
    }

    /// The resolution to publish.
    pub(super) fn served(&self) -> Resolution {
        let mut served = self.resolution.clone();
        for namespace in &self.without_rules {
            served.tail.remove(namespace);
        }
        served
    }

    /// True if clients, samplers and evidence would see no difference.
    pub(super) fn is_served_as(&self, other: &Self) -> bool {
        let (own, others) = (&self.resolution, &other.resolution);
        self.without_rules == other.without_rules
            && own.table == others.table
            && own.tail == others.tail
            && own.outcomes == others.outcomes
    }

    /// Builds the status of a policy. Returns none before the policy was resolved.
    pub(super) fn status(
        &self,
        object: &PolicyObject,
        collect: impl FnOnce(&PolicyKey) -> PolicyEvidence,
        previous: &[Condition],
        now: Timestamp,
    ) -> Option<SamplingPolicyStatus> {
        let policy = match &object.policy {
            Ok(policy) => policy,
            Err(reasons) => {
                let status = spoor_status::invalid(reasons, object.generation, previous, now);
                return Some(status);
            }
        };
        let outcome = self.resolution.outcomes.get(&policy.key)?;
        let known = collect(&policy.key);
        let tail = self.tails.get(&policy.key.namespace);
        let findings = PolicyFindings {
            policy,
            generation: object.generation,
            outcome,
            evidence: known.evidence.as_ref(),
            tail: tail.map_or(TailRules::NoTracingStack, |it| it.rules(&known.samplers)),
            decisions: known.decisions.as_ref(),
            known: &known.services,
            notes: &known.notes,
            previous,
            now,
        };
        Some(findings.status())
    }
}

/// The pods that should apply policies: those that are Ready and have Spoor's label, or belong to a
/// service that a policy names or a client has connected from.
fn instances(
    snapshot: &SourcesSnapshot,
    policies: &[Policy],
    connected: &BTreeSet<NamespacedService>,
) -> Vec<Instance> {
    let targets = policies.iter().flat_map(|policy| {
        let services = policy.targets.iter().map(|target| &target.service);
        services.map(|service| (&policy.key.namespace, service))
    });
    let connected = connected
        .iter()
        .map(|(namespace, service)| (namespace, service));
    let named: BTreeSet<(&Namespace, &ServiceName)> = targets.chain(connected).collect();
    let expected = snapshot.pods.iter().filter_map(|pod| {
        let service = pod.service.as_ref()?;
        // Many pods have `app.kubernetes.io/name` for other reasons, and would never become current
        // if that label alone made them expected.
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
