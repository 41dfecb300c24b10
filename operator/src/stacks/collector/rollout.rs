//! The order in which the Collector's tiers change.
//!
//! - The two tiers never change at the same time: parts of a trace that two gathering pods hold
//!   meet in the deciding pod, unless that is being replaced in the meantime.
//! - The deciding pod is not replaced for new rules while it cannot send what it holds, which would
//!   be lost. It is replaced for a new pipeline, which may fix the exporter.
//! - The deciding pod has one replacement at a time: rules that change faster are combined.
//!
//! No tier waits for its own pods for longer than `MAX_START_WAIT`, so a broken revision can always
//! be replaced by a working one.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};

use crate::stacks::pod_failure::{has_failed, not_terminating, ready_condition};

use super::{
    CollectorObjects, PIPELINE_HASH, SPEC_HASH, TAIL_DIGEST, Tier, exporter::ExporterHealth,
};

/// A tier as it is in the cluster.
#[derive(Clone, Copy, Debug)]
pub struct LiveTier<'a> {
    /// Its Deployment.
    pub workload: &'a Deployment,
    /// Its pods, including terminating ones.
    pub pods: &'a [Pod],
}

/// The present state of both tiers; `None` for a tier that has no Deployment yet.
#[derive(Clone, Copy, Debug)]
pub struct RolloutState<'a> {
    /// The gathering tier.
    pub gather: Option<LiveTier<'a>>,
    /// The deciding tier.
    pub decide: Option<LiveTier<'a>>,
    /// The health of the deciding pod's exporter.
    pub exporter: ExporterHealth,
}

/// The next step of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolloutPlan {
    /// True if the objects of the gathering tier may be applied.
    pub can_change_gather: bool,
    /// True if the objects of the deciding tier may be applied.
    pub can_change_decide: bool,
    /// The reason why a tier waits, if one does.
    pub waiting: Option<RolloutWait>,
    /// The delay after which to plan again even if nothing has changed.
    pub replan_in: Option<Duration>,
}

/// The reason why a tier is not changed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display)]
pub enum RolloutWait {
    /// Gathering pods are being replaced.
    #[display("waiting to replace the deciding pod: gathering pods are being replaced")]
    GatherChanges,
    /// They have been replaced, but two of them may still hold parts of the same trace.
    #[display(
        "waiting to replace the deciding pod: traces of old gathering pods may be incomplete"
    )]
    GatherSettles,
    /// The deciding pod is being replaced.
    #[display("waiting to replace the gathering pods: the deciding pod is being replaced")]
    DecideChanges,
    /// The deciding pod of the last change is starting.
    #[display(
        "waiting for at most {} s to replace the deciding pod again: the new one is still starting",
        MAX_START_WAIT.as_secs()
    )]
    DecideStarts,
    /// No deciding pod is ready to receive traces from the gathering ones.
    #[display("waiting to replace the gathering pods: the deciding pod is not ready")]
    DecideUnavailable,
    /// It is unknown whether the deciding pod can send what it keeps to Jaeger.
    #[display("checking whether the deciding pod can send its spans to Jaeger before replacing it")]
    ExporterUnknown,
    /// The deciding pod cannot send what it keeps to Jaeger.
    #[display("waiting to apply new tail rules: the deciding pod cannot send its spans to Jaeger")]
    ExporterFails,
}

/// The longest time that a revision of the deciding pod may take to start before the next one
/// replaces it. A revision that fails is replaced immediately: it holds no traces, and the next one
/// may fix it.
const MAX_START_WAIT: Duration = Duration::from_secs(60);

/// Plans the next step.
#[must_use]
pub fn plan(current: &RolloutState<'_>, desired: &CollectorObjects, now: Timestamp) -> RolloutPlan {
    let (gather, decide) = (current.gather, current.decide);
    let gather = gather.map(|live| TierState::of(live, &desired.gather, now));
    let decide = decide.map(|live| TierState::of(live, &desired.decide, now));
    let decide_waits = match (&decide, &gather) {
        (Some(decide), Some(gather)) if decide.is_outdated => {
            decide_wait(decide, gather, current, desired)
        }
        _ => None,
    };
    let changes_decide = decide_waits.is_none() && decide.as_ref().is_some_and(|it| it.is_outdated);
    let gather_waits = match (&decide, &gather) {
        (Some(decide), Some(gather)) if gather.is_outdated => gather_wait(decide, changes_decide),
        _ => None,
    };
    let waits = decide_waits.or(gather_waits);
    RolloutPlan {
        can_change_gather: gather_waits.is_none(),
        can_change_decide: decide_waits.is_none(),
        waiting: waits.map(|(waiting, _)| waiting),
        replan_in: waits.and_then(|(_, replan_in)| replan_in),
    }
}

impl<'a> LiveTier<'a> {
    /// The tier with this Deployment and these pods.
    #[must_use]
    pub fn of((workload, pods): &'a (&Deployment, Vec<Pod>)) -> Self {
        Self { workload, pods }
    }

    /// Returns true if all pods are of the Deployment's latest revision, no others are left, and at
    /// least one is ready.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.is_changing() && self.has_ready_pod()
    }

    /// The digest of the deciding tier's rules and the number of its policies. None while old and
    /// new rules may decide side by side, or no pod is ready.
    #[must_use]
    pub fn tail_in_force(&self) -> Option<(&str, u32)> {
        if !self.is_complete() {
            return None;
        }
        let annotations = pod_annotations(self.workload)?;
        let policies = annotations.get(super::TAIL_POLICIES)?;
        Some((annotations.get(TAIL_DIGEST)?, policies.parse().ok()?))
    }

    fn is_changing(&self) -> bool {
        let spec = self.workload.spec.as_ref();
        let desired = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let status = self.workload.status.clone().unwrap_or_default();
        let generation = self.workload.metadata.generation;
        // Until the Deployment controller has observed a change, its status describes the previous
        // revision.
        status.observed_generation < generation
            || status.updated_replicas.unwrap_or(0) != desired
            || status.replicas.unwrap_or(0) != desired
            || not_terminating(self.pods).count() < self.pods.len()
    }

    fn has_ready_pod(&self) -> bool {
        let mut conditions = not_terminating(self.pods).filter_map(ready_condition);
        conditions.any(|condition| condition.status == "True")
    }

    /// The last time at which a pod was created, or became ready or unready.
    fn last_change(&self) -> Option<Timestamp> {
        let times = self.pods.iter().flat_map(|pod| {
            let ready =
                ready_condition(pod).and_then(|condition| condition.last_transition_time.as_ref());
            let created = pod.metadata.creation_timestamp.as_ref();
            [ready, created].into_iter().flatten().map(|time| time.0)
        });
        times.max()
    }
}

/// A tier, as far as its rollout depends on it.
struct TierState<'a> {
    live: LiveTier<'a>,
    is_outdated: bool,
    is_changing: bool,
    /// The time since the last change of its pods.
    quiet_for: Duration,
}

impl<'a> TierState<'a> {
    fn of(live: LiveTier<'a>, desired: &Tier, now: Timestamp) -> Self {
        let since = |then: Timestamp| now.duration_since(then).max(SignedDuration::ZERO);
        let quiet_for = live.last_change().map(|then| since(then).unsigned_abs());
        Self {
            live,
            is_outdated: spec_hash(live.workload) != spec_hash(&desired.workload),
            is_changing: live.is_changing(),
            quiet_for: quiet_for.unwrap_or(Duration::MAX),
        }
    }
}

type Wait = Option<(RolloutWait, Option<Duration>)>;

fn decide_wait(
    decide: &TierState<'_>,
    gather: &TierState<'_>,
    current: &RolloutState<'_>,
    desired: &CollectorObjects,
) -> Wait {
    // Changes that come faster than a pod starts are combined in one replacement. A revision that
    // failed is replaced immediately, since the next may fix it.
    let has_failed_pod = not_terminating(decide.live.pods).any(has_failed);
    if decide.is_changing && !has_failed_pod && decide.quiet_for < MAX_START_WAIT {
        let left = MAX_START_WAIT - decide.quiet_for;
        return Some((RolloutWait::DecideStarts, Some(left)));
    }
    if gather.is_changing {
        return Some((RolloutWait::GatherChanges, None));
    }
    // DNS responses are cached, so a gathering pod may send parts of traces to a peer for a while
    // after that one has gone.
    if gather.quiet_for < desired.settle_delay {
        let left = desired.settle_delay - gather.quiet_for;
        return Some((RolloutWait::GatherSettles, Some(left)));
    }
    // New rules can wait for Jaeger. A new pipeline cannot: it may be what makes the exporter work
    // again.
    let only_rules = pipeline_hash(decide.live.workload) == pipeline_hash(&desired.decide.workload);
    if only_rules && current.exporter == ExporterHealth::Failing {
        return Some((RolloutWait::ExporterFails, Some(RETRY_INTERVAL)));
    }
    None
}

/// The interval at which to check whether the exporter works again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

fn gather_wait(decide: &TierState<'_>, changes_decide: bool) -> Wait {
    if changes_decide || decide.is_changing {
        Some((RolloutWait::DecideChanges, None))
    } else if !decide.live.has_ready_pod() {
        Some((RolloutWait::DecideUnavailable, None))
    } else {
        None
    }
}

/// The hash of a workload's spec, from its annotation.
pub(in crate::stacks) fn spec_hash(workload: &Deployment) -> Option<&String> {
    workload.metadata.annotations.as_ref()?.get(SPEC_HASH)
}

/// The annotations of a workload's pods.
fn pod_annotations(workload: &Deployment) -> Option<&BTreeMap<String, String>> {
    let template = &workload.spec.as_ref()?.template;
    template.metadata.as_ref()?.annotations.as_ref()
}

fn pipeline_hash(workload: &Deployment) -> Option<&String> {
    pod_annotations(workload)?.get(PIPELINE_HASH)
}

#[cfg(test)]
mod tests;
