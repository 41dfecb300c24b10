//! The health of a stack's parts, from their Deployments, StatefulSets and pods.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use spoor_api::{
    stack::{Collector, SamplerEngine, Stack},
    tracing_stack::TailInForce,
};
use spoor_policy::TailTable;

use crate::stacks::{
    children::{Detail, belongs_to},
    collector::rollout::LiveTier,
    objects::labels::Component,
    pod_failure::{failure, not_terminating},
    sources::RelatedObjects,
};

/// The most pods that a message names.
const MAX_REPORTED_PODS: usize = 5;

/// The health of a stack's parts.
#[derive(Clone, Debug, Default)]
pub struct StackHealth {
    /// Jaeger.
    pub jaeger: PartHealth,
    /// The gathering tier.
    pub gather: PartHealth,
    /// The deciding tier.
    pub decide: PartHealth,
    /// The Collector with a sampler between two pipelines.
    pub collector: PartHealth,
    /// Spoor's sampler.
    pub sampler: PartHealth,
    /// The number of its pods that are ready.
    pub ready_samplers: u32,
    /// The tail rules of the deciding pod, if no other pod decides alongside it.
    pub tail: Option<TailInForce>,
}

/// The health of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartHealth {
    /// True if the part has a Deployment or a StatefulSet.
    pub exists: bool,
    /// True if one of its pods is ready.
    pub is_available: bool,
    /// True if all of its pods are ready and of the latest revision, and no others are left.
    pub is_complete: bool,
}

impl StackHealth {
    /// Derives the health from related objects.
    #[must_use]
    pub fn of(stack: &Stack, related: &RelatedObjects) -> Self {
        let part = |component: Component| {
            let found = live(related, stack, component)?;
            let live = LiveTier::of(&found);
            let tail = live.tail_in_force().map(|(digest, policies)| TailInForce {
                digest: digest.to_owned(),
                policies,
            });
            let status = live.workload.status.clone().unwrap_or_default();
            let part = PartHealth {
                exists: true,
                is_available: status.available_replicas > Some(0),
                // A rollout is complete with one ready pod; the others may still be starting.
                is_complete: live.is_complete() && status.ready_replicas >= status.replicas,
            };
            Some((part, tail))
        };
        let (decide, tail) = part(Component::Decide).unwrap_or_default();
        let (sampler, ready_samplers) = sampler(stack, related).unwrap_or_default();
        Self {
            jaeger: part(Component::Jaeger).unwrap_or_default().0,
            gather: part(Component::Gather).unwrap_or_default().0,
            decide,
            collector: part(Component::Collector).unwrap_or_default().0,
            sampler,
            ready_samplers,
            tail,
        }
    }

    /// Returns true if all parts behind the route to the Collector are complete. Of an existing
    /// Collector, that is the sampler.
    #[must_use]
    pub fn is_collector_complete(&self, stack: &Stack) -> bool {
        let parts = self.of_engine(stack.sampler.engine());
        match stack.collector {
            Collector::Managed(_) => parts.iter().all(|part| part.is_complete),
            Collector::Existing(_) => self.sampler.is_complete,
        }
    }

    /// Returns true if the deciding tier has no rules, and so keeps every trace, or no pod that could
    /// drop one.
    #[must_use]
    pub fn decides_without_rules(&self, stack: &Stack) -> bool {
        let no_rules = TailTable::default().digest(&stack.namespace).to_string();
        let in_force = self.tail.as_ref();
        !self.decide.is_available || in_force.is_some_and(|tail| tail.digest == no_rules)
    }

    /// Returns true if any part of this engine exists.
    #[must_use]
    pub fn has_engine(&self, engine: SamplerEngine) -> bool {
        self.of_engine(engine).iter().any(|part| part.exists)
    }

    fn of_engine(&self, engine: SamplerEngine) -> [&PartHealth; 2] {
        match engine {
            SamplerEngine::OpenTelemetry => [&self.gather, &self.decide],
            SamplerEngine::Spoor => [&self.collector, &self.sampler],
        }
    }
}

/// The health of the sampler, and the number of its pods that are ready.
fn sampler(stack: &Stack, related: &RelatedObjects) -> Option<(PartHealth, u32)> {
    let set = sampler_set(stack, related)?;
    let status = set.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let part = PartHealth {
        exists: true,
        is_available: status.available_replicas > Some(0),
        is_complete: is_complete(set),
    };
    Some((part, u32::try_from(ready).unwrap_or(0)))
}

/// The StatefulSet of the sampler.
#[must_use]
pub fn sampler_set<'a>(stack: &Stack, related: &'a RelatedObjects) -> Option<&'a StatefulSet> {
    let name = Component::Sampler.name_in(stack);
    let mut children = related.children.iter();
    children.find_map(|child| match &child.detail {
        Detail::StatefulSet(set) if child.key.name == name => Some(&**set),
        _ => None,
    })
}

/// Returns true if all pods of a StatefulSet are ready and of its latest revision.
fn is_complete(set: &StatefulSet) -> bool {
    let spec = set.spec.as_ref();
    let desired = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.clone().unwrap_or_default();
    // Until the controller has observed a change, the status describes the previous revision.
    status.observed_generation >= set.metadata.generation
        && status.replicas == desired
        && status.ready_replicas.unwrap_or(0) == desired
        && status.updated_replicas.unwrap_or(0) == desired
}

/// A part's Deployment and its pods, including terminating ones.
#[must_use]
pub fn live<'a>(
    related: &'a RelatedObjects,
    stack: &Stack,
    component: Component,
) -> Option<(&'a Deployment, Vec<Pod>)> {
    let name = component.name_in(stack);
    let mut children = related.children.iter();
    let deployment = children.find_map(|child| match &child.detail {
        Detail::Deployment(deployment) if child.key.name == name => Some(&**deployment),
        _ => None,
    })?;
    let pods = related.pods.iter().filter(|pod| belongs_to(pod, component));
    Some((deployment, pods.cloned().collect()))
}

/// Pods that cannot start or be scheduled, with the reason.
pub(super) fn failing(pods: &[Pod], now: Timestamp) -> Vec<String> {
    let failing = not_terminating(pods).filter_map(|pod| failure(pod, now));
    let mut failing: Vec<String> = failing.collect();
    // In a stable order, since each change of the message would be a write.
    failing.sort();
    let more = failing.len().saturating_sub(MAX_REPORTED_PODS);
    failing.truncate(MAX_REPORTED_PODS);
    failing.extend((more > 0).then(|| format!("and {more} more")));
    failing
}
