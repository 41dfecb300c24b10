//! A policy's three conditions: `Accepted`, `Programmed`, `Converged`.

use spoor_api::status::{Condition, ConditionStatus, Verdict};
use spoor_control::{Clients, Evidence, NotCurrent, NotCurrentReason};
use spoor_policy::{Acceptance, Outcome, Setting};

use crate::{places, tail_rules::TailRules};

/// More instances than a message should name.
const NAMED: usize = 5;

const NOT_PUBLISHED: &str = "nothing of it is published";
const NOT_TO_BE_TAKEN: &str = "nobody is to take it";

/// Warnings for the policy's author, each a sentence without its full stop.
#[must_use]
pub fn warnings(outcome: &Outcome) -> Vec<String> {
    let nowhere = decides_nowhere(outcome).into_iter();
    nowhere.chain(outcome.warnings.iter().cloned()).collect()
}

/// The verdict of `Accepted`: it decides somewhere, or the winners where it does not.
pub(crate) fn accepted(outcome: &Outcome) -> Verdict {
    let (status, reason, message) = match &outcome.acceptance {
        Acceptance::Accepted => (
            ConditionStatus::True,
            "Accepted",
            "decides everywhere that it asks for".to_owned(),
        ),
        Acceptance::PartiallyOverridden(winners) => (
            ConditionStatus::True,
            "PartiallyOverridden",
            format!("decided in part by {}", joined(winners)),
        ),
        Acceptance::Conflicted(winners) => (
            ConditionStatus::False,
            "Conflicted",
            format!("decided everywhere by {}", joined(winners)),
        ),
        Acceptance::Expired(at) => (
            ConditionStatus::False,
            "Expired",
            format!("expired at {at}"),
        ),
    };
    let sentences = [message]
        .into_iter()
        .chain(outcome.warnings.iter().cloned())
        .chain(places::left_out(outcome));
    Verdict::new(status, reason, sentences.collect::<Vec<_>>().join("; "))
}

/// A warning that it has no effect, with the reason; none where it has one.
fn decides_nowhere(outcome: &Outcome) -> Option<String> {
    match &outcome.acceptance {
        Acceptance::Accepted | Acceptance::PartiallyOverridden(_) => None,
        Acceptance::Conflicted(winners) => {
            Some(format!("has no effect: {} decides", joined(winners)))
        }
        Acceptance::Expired(at) => Some(format!("has no effect: expired at {at}")),
    }
}

/// The verdicts on a resource that is no policy.
pub(crate) fn invalid(reasons: &[String]) -> [(&'static str, Verdict); 3] {
    let not_accepted =
        |message: &str| Verdict::new(ConditionStatus::False, "NotAccepted", message.to_owned());
    let accepted = Verdict::new(ConditionStatus::False, "Invalid", reasons.join("; "));
    [
        (Condition::ACCEPTED, accepted),
        (Condition::PROGRAMMED, not_accepted(NOT_PUBLISHED)),
        (Condition::CONVERGED, not_accepted(NOT_TO_BE_TAKEN)),
    ]
}

/// The verdict of `Programmed`: everything it says is published.
pub(crate) fn programmed(
    outcome: &Outcome,
    evidence: Option<&Evidence>,
    tail: &TailRules,
) -> Verdict {
    if !is_accepted(outcome) {
        return Verdict::new(ConditionStatus::False, "NotAccepted", NOT_PUBLISHED);
    }
    let head = decides_head(outcome).then(|| head_programmed(evidence));
    let tail = decides_tail(outcome).then(|| tail.programmed());
    all(tail.into_iter().chain(head))
}

fn head_programmed(evidence: Option<&Evidence>) -> Verdict {
    let services = evidence
        .map(|evidence| evidence.services.as_slice())
        .unwrap_or_default();
    let partly: Vec<&str> = services
        .iter()
        .filter(|service| service.partly_expressible && !service.operations.is_empty())
        .map(|service| service.service.as_str())
        .collect();
    if partly.is_empty() {
        return Verdict::new(
            ConditionStatus::True,
            "Programmed",
            "its head strategy is published to all doors",
        );
    }
    let message = format!(
        "Jaeger's remote sampling has no rate limit for one operation: stock clients of {} don't follow it",
        partly.join(", ")
    );
    Verdict::new(ConditionStatus::False, "PartlyExpressible", message)
}

/// The verdict of `Converged`: every expected instance has acknowledged it, and its tail rules
/// decide.
pub(crate) fn converged(
    outcome: &Outcome,
    evidence: Option<&Evidence>,
    tail: &TailRules,
) -> Verdict {
    if !is_accepted(outcome) {
        return Verdict::new(ConditionStatus::False, "NotAccepted", NOT_TO_BE_TAKEN);
    }
    let head = decides_head(outcome).then(|| match evidence {
        Some(evidence) => taken(&evidence.clients),
        None => Verdict::new(
            ConditionStatus::Unknown,
            "NotPublished",
            "nothing was published yet",
        ),
    });
    let tail = decides_tail(outcome).then(|| tail.converged());
    all(head.into_iter().chain(tail))
}

/// The verdict on the clients alone: every expected instance has acknowledged it.
fn taken(clients: &Clients) -> Verdict {
    let (expected, current) = (clients.expected, clients.current);
    let of = |matches: fn(&NotCurrentReason) -> bool| names(&clients.not_current, matches);
    let (status, reason, message) = if expected == 0 {
        let none = "nobody is there to take it".to_owned();
        (ConditionStatus::Unknown, "NoInstances", none)
    } else if clients.refused > 0 {
        let who = of(|it| matches!(it, NotCurrentReason::Refused(_)));
        (
            ConditionStatus::False,
            "Refused",
            format!("refused by {who}"),
        )
    } else if clients.pending() > 0 {
        let who = of(|it| matches!(it, NotCurrentReason::Pending));
        let message = format!("{current} of {expected} instances have it; awaited: {who}");
        (ConditionStatus::False, "Pending", message)
    } else if clients.silent > 0 {
        let who = of(|it| matches!(it, NotCurrentReason::Silent));
        let never = of(|it| matches!(it, NotCurrentReason::NeverAsked));
        let never = match clients.never_asked {
            0 => String::new(),
            _ => format!("; never asked: {never}"),
        };
        let message = format!("{current} of {expected} instances have it; silent: {who}{never}");
        (ConditionStatus::Unknown, "Silent", message)
    } else if clients.never_asked > 0 {
        let who = of(|it| matches!(it, NotCurrentReason::NeverAsked));
        let message = format!("{current} of {expected} instances have it; never asked: {who}");
        (ConditionStatus::Unknown, "NeverAsked", message)
    } else if clients.polling > 0 {
        let who = of(|it| matches!(it, NotCurrentReason::Polling));
        let message = format!(
            "{current} of {expected} instances have it; only polling: {who} (Jaeger's protocol confirms nothing and names no process: these are counted by address, user agent, connection and interval)"
        );
        (ConditionStatus::Unknown, "Polling", message)
    } else {
        let message = format!("{current} of {expected} instances have it");
        (ConditionStatus::True, "Converged", message)
    };
    Verdict::new(status, reason, message)
}

/// The worst of a policy's parts, with what is to be said of each.
fn all(parts: impl Iterator<Item = Verdict>) -> Verdict {
    let parts: Vec<Verdict> = parts.collect();
    let message = parts
        .iter()
        .map(|part| part.message.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    let rank = |status: ConditionStatus| match status {
        ConditionStatus::False => 0,
        ConditionStatus::Unknown => 1,
        ConditionStatus::True => 2,
    };
    let worst = parts.iter().min_by_key(|part| rank(part.status));
    let (status, reason) = worst.map_or((ConditionStatus::Unknown, "DecidesNothing"), |worst| {
        (worst.status, worst.reason)
    });
    Verdict::new(status, reason, message)
}

/// True if it decides the head of any trace.
pub(crate) fn decides_head(outcome: &Outcome) -> bool {
    let mut settings = outcome.effective.iter().map(|place| &place.setting);
    settings.any(|setting| matches!(setting, Setting::Head(_)))
}

/// True if it decides tails alone: Collectors apply it, and no client has to.
pub(crate) fn decides_tail_only(outcome: &Outcome) -> bool {
    is_accepted(outcome) && decides_tail(outcome) && !decides_head(outcome)
}

fn decides_tail(outcome: &Outcome) -> bool {
    let mut settings = outcome.effective.iter().map(|place| &place.setting);
    settings.any(|setting| matches!(setting, Setting::Tail { .. }))
}

pub(crate) fn is_accepted(outcome: &Outcome) -> bool {
    matches!(
        outcome.acceptance,
        Acceptance::Accepted | Acceptance::PartiallyOverridden(_)
    )
}

fn names(not_current: &[NotCurrent], matches: fn(&NotCurrentReason) -> bool) -> String {
    let those: Vec<String> = not_current
        .iter()
        .filter(|instance| matches(&instance.reason))
        .map(
            |NotCurrent {
                 service,
                 instance,
                 reason,
             }| match reason {
                NotCurrentReason::Refused(cause) => format!("{service} {instance} ({cause})"),
                _ => format!("{service} {instance}"),
            },
        )
        .collect();
    let more = those.len().saturating_sub(NAMED);
    let named = those.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        format!("{named} and {more} more")
    } else {
        named
    }
}

fn joined(names: impl IntoIterator<Item = impl ToString>) -> String {
    names
        .into_iter()
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
