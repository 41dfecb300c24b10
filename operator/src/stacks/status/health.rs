//! The health of a stack's parts, from their Deployments and pods.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use spoor_api::{stack::Stack, tracing_stack::TailInForce};

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
    /// The tail rules of the deciding pod, if no other pod decides alongside it.
    pub tail: Option<TailInForce>,
}

/// The health of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartHealth {
    /// True if the part has a Deployment.
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
        Self {
            jaeger: part(Component::Jaeger).unwrap_or_default().0,
            gather: part(Component::Gather).unwrap_or_default().0,
            decide,
            tail,
        }
    }
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
