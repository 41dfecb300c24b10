//! When which tier may change.
//!
//! - Never both at once: parts of a trace that two gathering pods hold meet in the deciding pod,
//!   unless that is being replaced in the meantime.
//! - The deciding pod isn't replaced for new rules while it can't get rid of what it holds: what it
//!   can't send before it ends is lost. For another pipeline it is, since that may be the cure.
//! - One replacement of the deciding pod at a time: rules that change faster are put together.
//!
//! A tier is never held back for its own sake, or a broken revision could not be followed by a
//! good one.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, PodCondition},
};

use crate::stacks::pod_failure::has_failed;

use super::{
    CollectorObjects, PIPELINE_HASH, SPEC_HASH, TAIL_DIGEST, Tier, exporter::ExporterHealth,
};

/// A tier as it is in the cluster.
#[derive(Clone, Copy, Debug)]
pub struct LiveTier<'a> {
    /// Its Deployment.
    pub workload: &'a Deployment,
    /// Its pods, those that are ending included.
    pub pods: &'a [Pod],
}

/// What is there now; none: no such Deployment yet.
#[derive(Clone, Copy, Debug)]
pub struct RolloutState<'a> {
    /// The tier that gathers.
    pub gather: Option<LiveTier<'a>>,
    /// The tier that decides.
    pub decide: Option<LiveTier<'a>>,
    /// Whether the deciding pod can send what it keeps.
    pub exporter: ExporterHealth,
}

/// What to do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Apply the objects of the tier that gathers.
    pub gather: bool,
    /// Apply the objects of the tier that decides.
    pub decide: bool,
    /// What the other tier waits for.
    pub waiting: Option<RolloutWait>,
    /// When to plan again though nothing has changed.
    pub again_in: Option<Duration>,
}

/// Why a tier isn't changed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutWait {
    /// Gathering pods come and go.
    GatherChanges,
    /// They have come and gone, and traces are still in two of them.
    GatherSettles,
    /// The deciding pod is being replaced.
    DecideChanges,
    /// The deciding pod of the last change is starting.
    DecideStarts,
    /// There is no deciding pod that gathering ones could hand over to.
    DecideUnavailable,
    /// Whether the deciding pod can send what it keeps to Jaeger isn't known yet.
    ExporterUnknown,
    /// The deciding pod can't send what it keeps to Jaeger.
    ExporterFails,
}

impl fmt::Display for RolloutWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GatherChanges => "new tail rules wait until all gathering pods are replaced",
            Self::GatherSettles => {
                "new tail rules wait for the traces that passed through changing gathering pods"
            }
            Self::DecideChanges => "the next change waits until the deciding pod is replaced",
            Self::DecideStarts => {
                return write!(
                    f,
                    "the next change waits until the deciding pod of the last one is ready or fails, \
                     for {} s at most",
                    MAX_START_WAIT.as_secs()
                );
            }
            Self::DecideUnavailable => "gathering pods wait for a deciding pod that is ready",
            Self::ExporterUnknown => {
                "the deciding Collector is changed once it is known to send what it holds"
            }
            Self::ExporterFails => {
                "new tail rules wait: the Collector can't send to Jaeger and would lose what it holds"
            }
        })
    }
}

/// How long a revision of the deciding pod may take to be there before another follows it. One that
/// fails is followed at once: it holds no traces, and what follows may be its cure.
const MAX_START_WAIT: Duration = Duration::from_secs(60);

/// What may be applied now.
#[must_use]
pub fn plan(current: &RolloutState<'_>, wanted: &CollectorObjects, now: Timestamp) -> RolloutPlan {
    let gather = current
        .gather
        .map(|live| TierState::of(live, &wanted.gather, now));
    let decide = current
        .decide
        .map(|live| TierState::of(live, &wanted.decide, now));
    let decide_waits = match (&decide, &gather) {
        (Some(decide), Some(gather)) if decide.outdated => {
            for_decide(decide, gather, current, wanted)
        }
        _ => None,
    };
    let changes_decide = decide_waits.is_none() && decide.as_ref().is_some_and(|it| it.outdated);
    let gather_waits = match (&decide, &gather) {
        (Some(_), Some(gather)) if gather.outdated && changes_decide => {
            Some((RolloutWait::DecideChanges, None))
        }
        (Some(decide), Some(gather)) if gather.outdated => for_gather(decide),
        _ => None,
    };
    let waits = decide_waits.or(gather_waits);
    RolloutPlan {
        gather: gather_waits.is_none(),
        decide: decide_waits.is_none(),
        waiting: waits.map(|(waiting, _)| waiting),
        again_in: waits.and_then(|(_, again_in)| again_in),
    }
}

impl LiveTier<'_> {
    /// Whether all pods are of the Deployment's latest revision, and no other is left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.is_changing() && self.has_ready_pod()
    }

    /// The digest of the rules in force and the number of policies, of the tier that decides: none
    /// while old and new ones decide side by side.
    #[must_use]
    pub fn tail_in_force(&self) -> Option<(&str, u32)> {
        if !self.is_complete() {
            return None;
        }
        let template = &self.workload.spec.as_ref()?.template;
        let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
        let policies = annotations.get(super::TAIL_POLICIES)?;
        Some((annotations.get(TAIL_DIGEST)?, policies.parse().ok()?))
    }

    fn is_changing(&self) -> bool {
        let spec = self.workload.spec.as_ref();
        let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let status = self.workload.status.clone().unwrap_or_default();
        let generation = self.workload.metadata.generation;
        status.observed_generation < generation
            || status.updated_replicas.unwrap_or(0) != wanted
            || status.replicas.unwrap_or(0) != wanted
            || self.pods.iter().any(is_ending)
    }

    fn has_failed_pod(&self) -> bool {
        let mut staying = self.pods.iter().filter(|pod| !is_ending(pod));
        staying.any(has_failed)
    }

    fn has_ready_pod(&self) -> bool {
        let mut staying = self.pods.iter().filter(|pod| !is_ending(pod));
        staying.any(|pod| ready(pod).is_some_and(|condition| condition.status == "True"))
    }

    /// When a pod came, or became ready, or ceased to be, for the last time.
    fn last_change(&self) -> Option<Timestamp> {
        let times = self.pods.iter().flat_map(|pod| {
            let turned = ready(pod).and_then(|condition| condition.last_transition_time.as_ref());
            let came = pod.metadata.creation_timestamp.as_ref();
            [turned, came].into_iter().flatten().map(|time| time.0)
        });
        times.max()
    }

    fn annotation(&self, of: impl Fn(&Deployment) -> Option<&String>) -> Option<&str> {
        of(self.workload).map(String::as_str)
    }
}

/// A tier as far as it matters here.
struct TierState<'a> {
    live: LiveTier<'a>,
    outdated: bool,
    changing: bool,
    /// Since the last change of its pods.
    quiet_for: Duration,
}

impl<'a> TierState<'a> {
    fn of(live: LiveTier<'a>, wanted: &Tier, now: Timestamp) -> Self {
        let since = |then: Timestamp| now.duration_since(then).max(SignedDuration::ZERO);
        Self {
            live,
            outdated: live.annotation(spec_hash) != spec_hash(&wanted.workload).map(String::as_str),
            changing: live.is_changing(),
            quiet_for: live
                .last_change()
                .map_or(Duration::MAX, |then| since(then).unsigned_abs()),
        }
    }
}

type Wait = Option<(RolloutWait, Option<Duration>)>;

fn for_decide(
    decide: &TierState<'_>,
    gather: &TierState<'_>,
    current: &RolloutState<'_>,
    wanted: &CollectorObjects,
) -> Wait {
    if decide.changing && !decide.live.has_failed_pod() && decide.quiet_for < MAX_START_WAIT {
        let left = MAX_START_WAIT - decide.quiet_for;
        return Some((RolloutWait::DecideStarts, Some(left)));
    }
    if gather.changing {
        return Some((RolloutWait::GatherChanges, None));
    }
    if gather.quiet_for < wanted.settle {
        let left = wanted.settle - gather.quiet_for;
        return Some((RolloutWait::GatherSettles, Some(left)));
    }
    let only_rules = decide.live.annotation(pipeline_hash)
        == pipeline_hash(&wanted.decide.workload).map(String::as_str);
    if only_rules && current.exporter == ExporterHealth::Failing {
        return Some((RolloutWait::ExporterFails, Some(RETRY)));
    }
    None
}

/// How often to look whether the exporter works again.
const RETRY: Duration = Duration::from_secs(5);

fn for_gather(decide: &TierState<'_>) -> Wait {
    if decide.changing {
        Some((RolloutWait::DecideChanges, None))
    } else if !decide.live.has_ready_pod() {
        Some((RolloutWait::DecideUnavailable, None))
    } else {
        None
    }
}

fn spec_hash(workload: &Deployment) -> Option<&String> {
    workload.metadata.annotations.as_ref()?.get(SPEC_HASH)
}

fn pipeline_hash(workload: &Deployment) -> Option<&String> {
    let template = &workload.spec.as_ref()?.template;
    template
        .metadata
        .as_ref()?
        .annotations
        .as_ref()?
        .get(PIPELINE_HASH)
}

fn is_ending(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn ready(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests;
