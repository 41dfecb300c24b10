//! A policy's three conditions: `Accepted`, `Programmed`, `Converged`.

use spoor_api::status::ConditionStatus;
use spoor_control::{Evidence, NotCurrent, Why};
use spoor_policy::{Acceptance, Outcome, Policy};

/// A condition before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: ConditionStatus,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// More instances than a message should name.
const NAMED: usize = 5;

/// Whether it holds, and if not everywhere, who wins.
pub(super) fn accepted(outcome: &Outcome) -> Verdict {
    let (status, reason, message) = match &outcome.acceptance {
        Acceptance::Accepted => (
            ConditionStatus::True,
            "Accepted",
            "decides everywhere that it asks for".to_owned(),
        ),
        Acceptance::PartiallyOverridden(winners) => (
            ConditionStatus::True,
            "PartiallyOverridden",
            format!("in part {} wins", joined(winners)),
        ),
        Acceptance::Conflicted(winners) => (
            ConditionStatus::False,
            "Conflicted",
            format!("everywhere {} wins", joined(winners)),
        ),
        Acceptance::Expired(at) => (
            ConditionStatus::False,
            "Expired",
            format!("expired at {at}"),
        ),
    };
    let sentences = [message]
        .into_iter()
        .chain(outcome.warnings.iter().cloned());
    verdict(status, reason, sentences.collect::<Vec<_>>().join("; "))
}

/// Whether everything it says could be published.
pub(super) fn programmed(outcome: &Outcome, evidence: Option<&Evidence>) -> Verdict {
    if !is_accepted(outcome) {
        return verdict(
            ConditionStatus::False,
            "NotAccepted",
            "nothing of it is published",
        );
    }
    let services = evidence
        .map(|evidence| evidence.services.as_slice())
        .unwrap_or_default();
    let partly: Vec<&str> = services
        .iter()
        .filter(|service| service.partly_expressible && !service.operations.is_empty())
        .map(|service| service.service.as_str())
        .collect();
    if partly.is_empty() {
        return verdict(
            ConditionStatus::True,
            "Programmed",
            "published to all doors",
        );
    }
    let message = format!(
        "Jaeger's remote sampling has no rate limit for one operation: stock clients of {} don't follow it",
        partly.join(", ")
    );
    verdict(ConditionStatus::False, "PartlyExpressible", message)
}

/// Whether every expected instance has acknowledged it.
pub(super) fn converged(
    policy: &Policy,
    outcome: &Outcome,
    evidence: Option<&Evidence>,
) -> Verdict {
    if !is_accepted(outcome) {
        return verdict(
            ConditionStatus::False,
            "NotAccepted",
            "nobody is to take it",
        );
    }
    let Some(evidence) = evidence else {
        return if policy.head().is_none() {
            verdict(
                ConditionStatus::True,
                "Converged",
                "the trace pipeline has its tail rules",
            )
        } else {
            verdict(
                ConditionStatus::Unknown,
                "NoInstances",
                "no service that it decides for is known",
            )
        };
    };
    let clients = &evidence.clients;
    let (expected, current) = (clients.expected, clients.current);
    let of = |matches: fn(&Why) -> bool| names(&clients.not_current, matches);
    let (status, reason, message) = if expected == 0 {
        let none = "no instance of the services that it decides for is expected".to_owned();
        (ConditionStatus::Unknown, "NoInstances", none)
    } else if clients.refused > 0 {
        let who = of(|why| matches!(why, Why::Refused(_)));
        (
            ConditionStatus::False,
            "Refused",
            format!("refused by {who}"),
        )
    } else if clients.pending() > 0 {
        let who = of(|why| matches!(why, Why::Pending));
        let message = format!("{current} of {expected} instances have it; awaited: {who}");
        (ConditionStatus::False, "Pending", message)
    } else if clients.silent > 0 {
        let who = of(|why| matches!(why, Why::Silent));
        let message = format!("{current} of {expected} instances have it; silent: {who}");
        (ConditionStatus::Unknown, "Silent", message)
    } else if clients.polling > 0 {
        let who = of(|why| matches!(why, Why::Polling));
        let message = format!("{current} of {expected} instances have it; only polling: {who}");
        (ConditionStatus::Unknown, "Polling", message)
    } else {
        let message = format!("{current} of {expected} instances have it");
        (ConditionStatus::True, "Converged", message)
    };
    let hints = hints(evidence);
    verdict(
        status,
        reason,
        [message]
            .into_iter()
            .chain(hints)
            .collect::<Vec<_>>()
            .join("; "),
    )
}

/// Why a policy that everybody has may still decide nothing.
fn hints(evidence: &Evidence) -> Vec<String> {
    let mut hints = vec![];
    let roots_at: Vec<&str> = evidence
        .roots_at
        .iter()
        .map(|service| service.as_str())
        .collect();
    for service in &evidence.services {
        if !service.roots_seen && !roots_at.is_empty() {
            hints.push(format!(
                "no trace starts at {}: roots are at {}",
                service.service,
                roots_at.join(", ")
            ));
        }
        for operation in service
            .operations
            .iter()
            .filter(|it| service.roots_seen && !it.seen)
        {
            let operation = operation.operation.as_str();
            hints.push(format!(
                "no trace of {} starts as {operation:?}",
                service.service
            ));
        }
    }
    hints
}

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(
        outcome.acceptance,
        Acceptance::Accepted | Acceptance::PartiallyOverridden(_)
    )
}

fn names(not_current: &[NotCurrent], matches: fn(&Why) -> bool) -> String {
    let those: Vec<String> = not_current
        .iter()
        .filter(|instance| matches(&instance.why))
        .map(
            |NotCurrent {
                 service,
                 instance,
                 why,
             }| match why {
                Why::Refused(reason) => format!("{service} {instance} ({reason})"),
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

fn verdict(status: ConditionStatus, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict {
        status,
        reason,
        message: message.into(),
    }
}
