//! A policy's three conditions: `Accepted`, `Programmed`, `Converged`.

use std::collections::BTreeSet;

use spoor_api::status::{Condition, ConditionStatus, ConditionUpdate};
use spoor_control::{ClientCounts, Evidence, NotCurrent, NotCurrentReason};
use spoor_policy::{Acceptance, Outcome, PolicyName, Setting};

use crate::{places, tail_rules::TailRules};

/// The most instances that a message names.
const MAX_NAMED_INSTANCES: usize = 5;

const NOT_PUBLISHED: &str = "the policy is not published";
const NOT_APPLIED: &str = "no instance should apply this policy";

/// Warnings for the policy's author, each a sentence without a full stop. If the policy has no
/// effect, the first one states this and the reason.
#[must_use]
pub fn warnings(outcome: &Outcome) -> Vec<String> {
    let no_effect = match &outcome.acceptance {
        Acceptance::Accepted | Acceptance::PartiallyOverridden(_) => None,
        Acceptance::Conflicted(winners) => {
            Some(format!("has no effect; overridden by {}", joined(winners)))
        }
        Acceptance::Expired(at) => Some(format!("has no effect; expired at {at}")),
    };
    let warnings = outcome.warnings.iter().cloned();
    no_effect.into_iter().chain(warnings).collect()
}

/// The condition `Accepted`: the policy decides somewhere. The message names the winners elsewhere.
pub(crate) fn accepted(outcome: &Outcome) -> ConditionUpdate {
    let (reason, message) = match &outcome.acceptance {
        Acceptance::Accepted => ("Accepted", "decides everywhere it applies".to_owned()),
        Acceptance::PartiallyOverridden(winners) => {
            let message = format!("overridden in part by {}", joined(winners));
            ("PartiallyOverridden", message)
        }
        Acceptance::Conflicted(winners) => {
            let message = format!("overridden everywhere by {}", joined(winners));
            ("Conflicted", message)
        }
        Acceptance::Expired(at) => ("Expired", format!("expired at {at}")),
    };
    let status = match is_accepted(outcome) {
        true => ConditionStatus::True,
        false => ConditionStatus::False,
    };
    let warnings = outcome.warnings.iter().cloned();
    let sentences = [message].into_iter().chain(warnings);
    let sentences = sentences.chain(places::truncation_notes(outcome));
    ConditionUpdate::new(status, reason, sentences.collect::<Vec<_>>().join("; "))
}

/// The conditions of a resource that is not a valid policy.
pub(crate) fn invalid(reasons: &[String]) -> [(&'static str, ConditionUpdate); 3] {
    let not_accepted = |message: &str| {
        ConditionUpdate::new(ConditionStatus::False, "NotAccepted", message.to_owned())
    };
    let accepted = ConditionUpdate::new(ConditionStatus::False, "Invalid", reasons.join("; "));
    [
        (Condition::ACCEPTED, accepted),
        (Condition::PROGRAMMED, not_accepted(NOT_PUBLISHED)),
        (Condition::CONVERGED, not_accepted(NOT_APPLIED)),
    ]
}

/// The condition `Programmed`: all of the policy is published.
pub(crate) fn programmed(
    outcome: &Outcome,
    evidence: Option<&Evidence>,
    tail: &TailRules,
) -> ConditionUpdate {
    if !is_accepted(outcome) {
        return ConditionUpdate::new(ConditionStatus::False, "NotAccepted", NOT_PUBLISHED);
    }
    let head = decides_head(outcome).then(|| head_programmed(evidence));
    let tail = decides_tail(outcome).then(|| tail.programmed());
    combine(tail.into_iter().chain(head))
}

fn head_programmed(evidence: Option<&Evidence>) -> ConditionUpdate {
    let services = evidence.into_iter().flat_map(|it| &it.services);
    let partly = services.filter(|it| it.is_partly_expressible && !it.operations.is_empty());
    let partly: Vec<&str> = partly.map(|it| it.service.as_str()).collect();
    if partly.is_empty() {
        let message = "the head strategy is published";
        return ConditionUpdate::new(ConditionStatus::True, "Programmed", message);
    }
    let message = format!(
        "Jaeger's remote sampling can express neither a rate limit for an operation nor a strategy for an operation of a service with a rate limit, so polling clients of {} do not apply the policy",
        partly.join(", ")
    );
    ConditionUpdate::new(ConditionStatus::False, "PartlyExpressible", message)
}

/// The condition `Converged`: every expected instance has acknowledged the policy, and its tail
/// rules are in force.
pub(crate) fn converged(
    outcome: &Outcome,
    evidence: Option<&Evidence>,
    tail: &TailRules,
) -> ConditionUpdate {
    if !is_accepted(outcome) {
        return ConditionUpdate::new(ConditionStatus::False, "NotAccepted", NOT_APPLIED);
    }
    // There is no evidence until the first publication after a start.
    let head = decides_head(outcome).then(|| match evidence {
        Some(evidence) => clients_converged(&evidence.clients),
        None => ConditionUpdate::new(
            ConditionStatus::Unknown,
            "NotPublished",
            "no policies are published yet",
        ),
    });
    let tail = decides_tail(outcome).then(|| tail.converged());
    combine(head.into_iter().chain(tail))
}

/// The condition of the clients alone: every expected instance has acknowledged the policy.
fn clients_converged(clients: &ClientCounts) -> ConditionUpdate {
    let applied = match clients.expected {
        1 => format!("{} of 1 instance applies the policy", clients.current),
        expected => format!(
            "{} of {expected} instances apply the policy",
            clients.current
        ),
    };
    let list = |reason: NotCurrentReason, count: usize| {
        names(&clients.not_current, count, |it| *it == reason)
    };
    // A condition has one reason, so the most severe problem comes first.
    let (status, reason, message) = if clients.expected == 0 {
        let none = "no instance exists to apply the policy".to_owned();
        (ConditionStatus::Unknown, "NoInstances", none)
    } else if clients.refused > 0 {
        let is_refused = |it: &NotCurrentReason| matches!(it, NotCurrentReason::Refused(_));
        let refusing = names(&clients.not_current, clients.refused, is_refused);
        let message = format!("refused by {refusing}");
        (ConditionStatus::False, "Refused", message)
    } else if clients.pending() > 0 {
        let pending = list(NotCurrentReason::Pending, clients.pending());
        let message = format!("{applied}; waiting for {pending}");
        (ConditionStatus::False, "Pending", message)
    } else if clients.silent > 0 {
        let silent = list(NotCurrentReason::Silent, clients.silent);
        let mut message = format!("{applied}; silent: {silent}");
        if clients.never_asked > 0 {
            let never_asked = list(NotCurrentReason::NeverAsked, clients.never_asked);
            message += &format!("; never requested a strategy: {never_asked}");
        }
        (ConditionStatus::Unknown, "Silent", message)
    } else if clients.never_asked > 0 {
        let never_asked = list(NotCurrentReason::NeverAsked, clients.never_asked);
        let message = format!("{applied}; never requested a strategy: {never_asked}");
        (ConditionStatus::Unknown, "NeverAsked", message)
    } else if clients.polling > 0 {
        let polling = list(NotCurrentReason::Polling, clients.polling);
        let message = format!(
            "{applied}; only polling: {polling} (Jaeger's protocol has no acknowledgements and does not identify processes; they are counted by address, user agent, connection and interval)"
        );
        (ConditionStatus::Unknown, "Polling", message)
    } else {
        (ConditionStatus::True, "Converged", applied)
    };
    ConditionUpdate::new(status, reason, message)
}

/// Combines the conditions of a policy's parts: the worst status, with the messages of all parts.
fn combine(parts: impl Iterator<Item = ConditionUpdate>) -> ConditionUpdate {
    let parts: Vec<ConditionUpdate> = parts.collect();
    let messages: Vec<&str> = parts.iter().map(|part| part.message.as_str()).collect();
    // `False` is worse than `Unknown`.
    let rank = |status: ConditionStatus| match status {
        ConditionStatus::False => 0,
        ConditionStatus::Unknown => 1,
        ConditionStatus::True => 2,
    };
    let worst = parts.iter().min_by_key(|part| rank(part.status));
    let (status, reason) = worst.map_or((ConditionStatus::Unknown, "DecidesNothing"), |worst| {
        (worst.status, worst.reason)
    });
    ConditionUpdate::new(status, reason, messages.join("; "))
}

/// True if the policy decides the head anywhere.
pub(crate) fn decides_head(outcome: &Outcome) -> bool {
    let mut places = outcome.effective.iter();
    places.any(|place| matches!(place.setting, Setting::Head(_)))
}

/// True if the policy decides only the tail. Collectors, or the lab, apply it then, and clients do
/// not.
pub(crate) fn decides_tail_only(outcome: &Outcome) -> bool {
    is_accepted(outcome) && decides_tail(outcome) && !decides_head(outcome)
}

/// True if the policy decides the tail anywhere.
pub(crate) fn decides_tail(outcome: &Outcome) -> bool {
    let mut places = outcome.effective.iter();
    places.any(|place| matches!(place.setting, Setting::Tail { .. }))
}

pub(crate) fn is_accepted(outcome: &Outcome) -> bool {
    matches!(
        outcome.acceptance,
        Acceptance::Accepted | Acceptance::PartiallyOverridden(_)
    )
}

/// The names of the instances that are not current for a matching reason, of which there are
/// `count`. `not_current` may have only some of them, or none.
fn names(
    not_current: &[NotCurrent],
    count: usize,
    matches: impl Fn(&NotCurrentReason) -> bool,
) -> String {
    let matching = not_current.iter().filter(|it| matches(&it.reason));
    let name = |it: &NotCurrent| match &it.reason {
        NotCurrentReason::Refused(cause) => format!("{} {} ({cause})", it.service, it.instance),
        _ => format!("{} {}", it.service, it.instance),
    };
    let named: Vec<String> = matching.take(MAX_NAMED_INSTANCES).map(name).collect();
    match (named.len(), count.saturating_sub(named.len())) {
        (0, 1) => "1 instance".to_owned(),
        (0, count) => format!("{count} instances"),
        (_, 0) => named.join(", "),
        (_, more) => format!("{} and {more} more", named.join(", ")),
    }
}

fn joined(names: &BTreeSet<PolicyName>) -> String {
    let names: Vec<&str> = names.iter().map(PolicyName::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
