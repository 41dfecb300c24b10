//! Checks of the heads and tail rules in force, and the time since which a condition is true.

use jiff::Timestamp;
use spoor_api::{SamplingPolicy, TargetSpec, status::ConditionStatus};
use spoor_policy::Probability;

use crate::{
    lessons::report::Report,
    traces::{Part, effective_at},
};

/// Checks that the head records every trace, since no tail rule can keep one that was not recorded.
pub(super) fn check_heads(report: &mut Report, policies: &[SamplingPolicy], service: &str) {
    let what = format!("every trace of {service} is sampled at its start");
    let heads = effective_at(policies, service, Part::Head);
    match heads.iter().find(|(_, entry)| entry.strategy != "100%") {
        Some((policy, entry)) => report.wrong(
            &what,
            format!(
                "policy {} keeps {} there; a tail rule cannot keep a trace that the head did not sample",
                policy.metadata.name, entry.strategy
            ),
        ),
        None => report.passed(&what, ""),
    }
}

/// Reports a policy with tail rules for the service, which drop traces that its head sampled.
pub(super) fn check_no_tail(report: &mut Report, policies: &[SamplingPolicy], service: &str) {
    let drops = |policy: &SamplingPolicy| {
        let tail = policy.spec.tail.as_ref();
        let otherwise = tail.map(|tail| tail.otherwise.parse::<Probability>());
        otherwise.is_some_and(|it| it.is_ok_and(|share| share < Probability::ALWAYS))
    };
    let mut tails = effective_at(policies, service, Part::Tail).into_iter();
    if let Some((policy, _)) = tails.find(|(policy, _)| drops(policy)) {
        let what = format!("every sampled trace of {service} is kept");
        let name = &policy.metadata.name;
        let seen = format!("tail rules of {name} drop some; delete them, and send load again");
        report.wrong(&what, seen);
    }
}

/// True if the only target is this service with these operations, or with all if there are none.
pub(super) fn targets_only(targets: &[TargetSpec], service: &str, operations: &[&str]) -> bool {
    matches!(targets, [only] if only.service == service && only.operations == operations)
}

/// The time since which a condition of the current policy has been true.
pub(super) fn true_since(policy: &SamplingPolicy, condition: &str) -> Option<Timestamp> {
    let condition = policy.condition(condition)?;
    // The time of a false condition is that of its failure.
    let is_true = condition.status == ConditionStatus::True;
    is_true.then(|| condition.last_transition_time.parse().ok())?
}
