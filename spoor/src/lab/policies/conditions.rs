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
        .chain(outcome.warnings.iter().cloned());
    verdict(status, reason, sentences.collect::<Vec<_>>().join("; "))
}

/// That it has no effect, and why; none where it has one.
pub(super) fn decides_nowhere(outcome: &Outcome) -> Option<String> {
    match &outcome.acceptance {
        Acceptance::Accepted | Acceptance::PartiallyOverridden(_) => None,
        Acceptance::Conflicted(winners) => {
            Some(format!("has no effect: {} decides", joined(winners)))
        }
        Acceptance::Expired(at) => Some(format!("has no effect: expired at {at}")),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use spoor_control::{Clients, OperationEvidence, ServiceEvidence};
    use spoor_policy::{OperationName, ServiceName};

    use super::*;

    fn outcome(acceptance: Acceptance) -> Outcome {
        Outcome {
            acceptance,
            effective: vec![],
            overridden: vec![],
            warnings: vec![],
        }
    }

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    fn evidence(clients: Clients) -> Evidence {
        Evidence {
            clients,
            slowest: None,
            observed: None,
            services: vec![],
            roots_at: vec![],
        }
    }

    fn not_current(why: Why) -> Vec<NotCurrent> {
        vec![NotCurrent {
            service: service("service-a"),
            instance: "one".into(),
            why,
        }]
    }

    fn of_clients(clients: Clients) -> (ConditionStatus, &'static str, String) {
        let policy = spoor_api::read::policies(
            "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: p}\nspec: {head: {probability: 1%}}",
            "test",
        );
        let policy = policy
            .unwrap()
            .remove(0)
            .policy
            .validate(jiff::Timestamp::UNIX_EPOCH)
            .unwrap();
        let verdict = converged(
            &policy,
            &outcome(Acceptance::Accepted),
            Some(&evidence(clients)),
        );
        (verdict.status, verdict.reason, verdict.message)
    }

    #[test]
    fn is_converged_only_when_everybody_acknowledged() {
        let none = Clients::default();
        let all = Clients {
            expected: 3,
            current: 3,
            ..none.clone()
        };
        assert_eq!(
            of_clients(all),
            (
                ConditionStatus::True,
                "Converged",
                "3 of 3 instances have it".into()
            )
        );
        let pending = Clients {
            expected: 3,
            current: 2,
            not_current: not_current(Why::Pending),
            ..none.clone()
        };
        assert_eq!(
            of_clients(pending),
            (
                ConditionStatus::False,
                "Pending",
                "2 of 3 instances have it; awaited: service-a one".into()
            )
        );
        let silent = Clients {
            expected: 3,
            current: 2,
            silent: 1,
            not_current: not_current(Why::Silent),
            ..none.clone()
        };
        let (status, reason, message) = of_clients(silent);
        assert_eq!((status, reason), (ConditionStatus::Unknown, "Silent"));
        assert!(message.ends_with("silent: service-a one"), "{message}");
        let polling = Clients {
            expected: 1,
            polling: 1,
            not_current: not_current(Why::Polling),
            ..none.clone()
        };
        assert_eq!(of_clients(polling).1, "Polling");
        let refused = Clients {
            expected: 1,
            refused: 1,
            not_current: not_current(Why::Refused("no phase".into())),
            ..none.clone()
        };
        assert_eq!(
            of_clients(refused),
            (
                ConditionStatus::False,
                "Refused",
                "refused by service-a one (no phase)".into()
            )
        );
        assert_eq!(of_clients(none).0, ConditionStatus::Unknown);
    }

    #[test]
    fn says_why_a_policy_decides_nothing() {
        let operation = OperationName::new("GET /nowhere").unwrap();
        let mut evidence = evidence(Clients::default());
        evidence.roots_at = vec![service("service-a")];
        evidence.services = vec![
            ServiceEvidence {
                service: service("service-b"),
                roots_seen: false,
                operations: vec![],
                partly_expressible: false,
            },
            ServiceEvidence {
                service: service("service-a"),
                roots_seen: true,
                operations: vec![OperationEvidence {
                    operation,
                    seen: false,
                }],
                partly_expressible: false,
            },
        ];
        assert_eq!(
            hints(&evidence),
            [
                "no trace starts at service-b: roots are at service-a",
                "no trace of service-a starts as \"GET /nowhere\"",
            ]
        );
    }

    #[test]
    fn says_who_wins() {
        let winners = ["one", "two"].map(|name| spoor_policy::PolicyName::new(name).unwrap());
        let partly = accepted(&outcome(Acceptance::PartiallyOverridden(
            winners.clone().into(),
        )));
        assert_eq!(
            (partly.status, partly.reason, partly.message.as_str()),
            (
                ConditionStatus::True,
                "PartiallyOverridden",
                "decided in part by one, two"
            )
        );
        let lost = accepted(&outcome(Acceptance::Conflicted(winners.into())));
        assert_eq!(
            (lost.status, lost.reason),
            (ConditionStatus::False, "Conflicted")
        );
    }
}
