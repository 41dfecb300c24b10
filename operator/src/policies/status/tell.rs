//! The events that a change of conditions is worth.

use spoor_api::{
    SamplingPolicy, SamplingPolicyStatus,
    status::{Condition, ConditionStatus},
};

use super::due::condition;
use crate::{
    kubernetes::{events::Event, resources::reference},
    policies::preprocess::Found,
};

/// What people should know: that it was accepted or isn't any more, that everybody has it, that
/// somebody refused it, that its tail rules can't be had.
pub(super) fn events(
    found: &Found,
    previous: &[Condition],
    status: &SamplingPolicyStatus,
) -> Vec<Event> {
    let kinds = [
        Condition::ACCEPTED,
        Condition::PROGRAMMED,
        Condition::CONVERGED,
    ];
    let news = kinds.into_iter().filter_map(|kind| {
        let is = condition(status, kind)?;
        let was = previous.iter().find(|condition| condition.kind == kind);
        let is_new = was.is_none_or(|was| {
            (was.status, &was.reason, was.observed_generation)
                != (is.status, &is.reason, is.observed_generation)
        });
        let is_new_reason = was.is_none_or(|was| was.reason != is.reason);
        let is_warning = match kind {
            Condition::ACCEPTED if !is_new_reason => return None,
            Condition::ACCEPTED => is.status == ConditionStatus::False && is.reason != "Expired",
            Condition::CONVERGED if !is_new => return None,
            Condition::CONVERGED => match (is.status, is.reason.as_str()) {
                (ConditionStatus::True, _) => false,
                (_, "Refused") => true,
                _ => return None,
            },
            // While it is on its way there is nothing to tell.
            _ if !is_new_reason || is.status != ConditionStatus::False => return None,
            _ if matches!(is.reason.as_str(), "NotAccepted" | "RollingOut") => return None,
            _ => true,
        };
        Some(Event {
            regarding: reference(SamplingPolicy::KIND, &found.key, &found.uid),
            is_warning,
            reason: is.reason.clone(),
            action: "Resolve",
            note: note(status, is),
        })
    });
    news.collect()
}

/// A condition's message, and what it is about: the same is told only once.
fn note(status: &SamplingPolicyStatus, condition: &Condition) -> String {
    let generation = condition.observed_generation.unwrap_or_default();
    match &status.summary {
        Some(summary) => format!(
            "{} (generation {generation}): {}",
            summary.strategy, condition.message
        ),
        None => condition.message.clone(),
    }
}
