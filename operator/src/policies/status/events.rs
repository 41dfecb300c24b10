//! The events for changes of conditions.

use spoor_api::{
    SamplingPolicy, SamplingPolicyStatus,
    status::{Condition, ConditionStatus},
};

use super::schedule::condition;
use crate::{
    kubernetes::{events::Event, resources::reference},
    policies::objects::PolicyObject,
};

/// The events that people should see: the policy was accepted or is no longer accepted, all clients
/// apply it, a client refused it, its tail rules cannot be programmed, or another installation
/// tried to claim its namespace.
pub(super) fn events(
    object: &PolicyObject,
    previous: &[Condition],
    status: &SamplingPolicyStatus,
) -> Vec<Event> {
    let kinds = [
        Condition::ACCEPTED,
        Condition::PROGRAMMED,
        Condition::CONVERGED,
        Condition::CONTESTED,
    ];
    let events = kinds.into_iter().filter_map(|kind| {
        let current = condition(status, kind)?;
        let before = previous.iter().find(|condition| condition.kind == kind);
        let is_new = before.is_none_or(|before| {
            (before.status, &before.reason, before.observed_generation)
                != (current.status, &current.reason, current.observed_generation)
        });
        let is_new_reason = before.is_none_or(|before| before.reason != current.reason);
        let was_expired_when_written = current.reason == "Expired"
            && before
                .is_none_or(|before| before.observed_generation != current.observed_generation);
        let is_warning = match kind {
            // An expiry is expected; a policy that was written after its expiry is not.
            Condition::ACCEPTED if was_expired_when_written => true,
            Condition::ACCEPTED if !is_new_reason => return None,
            Condition::ACCEPTED if current.reason == "Expired" => false,
            Condition::ACCEPTED => current.status == ConditionStatus::False,
            Condition::CONVERGED if !is_new => return None,
            Condition::CONVERGED => match (current.status, current.reason.as_str()) {
                (ConditionStatus::True, _) => false,
                (_, "Refused") => true,
                _ => return None,
            },
            Condition::CONTESTED if !is_new => return None,
            Condition::CONTESTED => true,
            // While a rollout is under way there is nothing to report. A refusal is reported as not
            // converged.
            _ if !is_new_reason || current.status != ConditionStatus::False => return None,
            _ => match current.reason.as_str() {
                "NotAccepted" | "RollingOut" | "ChangingEngine" | "Pending" | "NoSamplerReady"
                | "Refused" => return None,
                _ => true,
            },
        };
        let mut note = note(status, current);
        if was_expired_when_written {
            note.push_str("; spec.expiresAt was already in the past; set a later time");
        }
        Some(Event {
            regarding: reference(SamplingPolicy::KIND, &object.key, &object.uid),
            is_warning,
            reason: current.reason.clone(),
            action: "Resolve",
            note,
        })
    });
    events.collect()
}

/// A condition's message with the policy's strategy and generation, so that the event of a new
/// generation is not dropped as a repetition.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::kubernetes::watch::Key;

    fn accepted(status: ConditionStatus, reason: &str, generation: i64) -> Condition {
        Condition {
            kind: Condition::ACCEPTED.to_owned(),
            status,
            observed_generation: Some(generation),
            last_transition_time: String::new(),
            reason: reason.to_owned(),
            message: "expired at 2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[rstest]
    #[case::new(None, Some(true))]
    #[case::edited(Some(("Accepted", 1)), Some(true))]
    #[case::edited_again(Some(("Expired", 1)), Some(true))]
    #[case::ended(Some(("Accepted", 2)), Some(false))]
    #[case::known(Some(("Expired", 2)), None)]
    fn expiry_in_the_past_is_a_warning(
        #[case] before: Option<(&str, i64)>,
        #[case] is_warning: Option<bool>,
    ) {
        let object = PolicyObject {
            key: Key::default(),
            uid: String::new(),
            generation: Some(2),
            version: 1,
            policy: Err(vec![]),
            status: None,
        };
        let previous: Vec<_> = before
            .map(|(reason, generation)| accepted(ConditionStatus::True, reason, generation))
            .into_iter()
            .collect();
        let status = SamplingPolicyStatus {
            conditions: vec![accepted(ConditionStatus::False, "Expired", 2)],
            ..SamplingPolicyStatus::default()
        };
        let events = events(&object, &previous, &status);
        let is_warned = events.first().map(|event| event.is_warning);
        assert_eq!(is_warned, is_warning);
    }
}
