//! Hints about why a policy may have no effect.

use std::{collections::BTreeSet, fmt, sync::Arc};

use spoor_control::{Evidence, ServiceEvidence};
use spoor_policy::{Namespace, OperationName, Policy, ServiceName, closest_name, unseen_operation};

/// The most unknown services of a policy, and the most unknown operations, that have a warning of
/// their own.
const MAX_NAMED: usize = 5;

/// Warnings about unknown services that a policy names, each a sentence without a full stop.
///
/// `known` are the services of the policy's namespace. Tail rules apply to any service that sends
/// spans, so for a policy without a head it should include those.
#[must_use]
pub fn unknown_services(policy: &Policy, known: &BTreeSet<ServiceName>) -> Vec<String> {
    let named = policy.targets.iter().map(|target| &target.service);
    // Sorted, so that the order of targets in the file does not change the message.
    let unknown: BTreeSet<&ServiceName> = named.filter(|it| !known.contains(*it)).collect();
    // A file from a cluster may have a namespace, whose effect in the lab is easily overlooked.
    let location = match &policy.key.namespace {
        namespace if *namespace == Namespace::default() => String::new(),
        namespace => format!(" in namespace {namespace} (the lab's services are in default)"),
    };
    let missing = |of: &dyn fmt::Display| match policy.head {
        Some(_) => format!("no instance of {of} is known{location}"),
        None => format!("no span from {of} has arrived yet{location}"),
    };
    let warn = |service: &ServiceName| missing(service) + &did_you_mean(service, known);
    let more = match unknown.len().saturating_sub(MAX_NAMED) {
        0 => None,
        1 => Some(missing(&"1 more service")),
        more => Some(missing(&format_args!("{more} more services"))),
    };
    let named = unknown.into_iter().take(MAX_NAMED).map(warn);
    named.chain(more).collect()
}

/// Warnings about operations that a policy names and that its services have not reported, each a
/// sentence without a full stop.
///
/// `known` returns the operations that a service has reported. Without any, the service may not have
/// had requests yet, and there is no warning.
#[must_use]
pub fn unknown_operations(
    policy: &Policy,
    mut known: impl FnMut(&ServiceName) -> Arc<BTreeSet<OperationName>>,
) -> Vec<String> {
    let (mut warnings, mut more) = (vec![], 0);
    for target in &policy.targets {
        // Not read for a target without operations, since reading takes longer than the rest.
        if target.operations.is_empty() {
            continue;
        }
        let (service, known) = (&target.service, known(&target.service));
        let is_unknown = |it: &&OperationName| !known.is_empty() && !known.contains(*it);
        for operation in target.operations.iter().filter(is_unknown) {
            // A suggestion takes time, so there is none for an operation that is only counted.
            if warnings.len() == MAX_NAMED {
                more += 1;
                continue;
            }
            let names = known.iter().map(OperationName::as_str);
            let (operation, service) = (operation.as_str(), service.as_str());
            warnings.push(unseen_operation(operation, service, "the policy", names));
        }
    }
    match more {
        0 => {}
        1 => warnings.push("1 more operation has not been seen yet".to_owned()),
        _ => warnings.push(format!("{more} more operations have not been seen yet")),
    }
    warnings
}

/// Hints, each a sentence without a full stop.
pub(crate) fn hints(
    policy: &Policy,
    evidence: &Evidence,
    known: &BTreeSet<ServiceName>,
) -> Vec<String> {
    let (running, unknown): (Vec<_>, Vec<_>) =
        evidence.services.iter().partition(|it| it.instances > 0);
    // Only a service that reports its roots can be known to have none.
    let reporting = running.into_iter().filter(|it| it.has_reports);
    let (starting, inner): (Vec<_>, Vec<_>) = reporting.partition(|it| it.has_roots);
    // Tail rules need spans only, and no instance that requests a strategy.
    let is_unknown = |it: &&ServiceEvidence| policy.head.is_some() || !known.contains(&it.service);
    let unknown: Vec<_> = unknown.into_iter().filter(is_unknown).collect();

    let mut hints = vec![];
    if !unknown.is_empty() {
        // With several names, it would be unclear which one a suggestion is for.
        let suggestion = match unknown[..] {
            [one] => did_you_mean(&one.service, known),
            _ => String::new(),
        };
        let names = names(unknown);
        hints.push(format!("no ready instance of {names} is known{suggestion}"));
    }
    // Without any roots in the namespace, there may simply be no requests.
    if !inner.is_empty() && !evidence.root_services.is_empty() {
        let roots: Vec<&str> = evidence.root_services.iter().map(|s| s.as_str()).collect();
        hints.push(format!(
            "no trace has started at {} yet; traces start at {}",
            names(inner),
            roots.join(", ")
        ));
    }
    hints.extend(starting.into_iter().flat_map(never_seen));
    hints
}

/// A suggestion, or an empty string if no known name is close.
fn did_you_mean(service: &ServiceName, known: &BTreeSet<ServiceName>) -> String {
    closest_name(service.as_str(), known.iter().map(ServiceName::as_str))
        .map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}

fn names(services: Vec<&ServiceEvidence>) -> String {
    let names: Vec<&str> = services.iter().map(|it| it.service.as_str()).collect();
    names.join(", ")
}

fn never_seen(evidence: &ServiceEvidence) -> impl Iterator<Item = String> {
    let operations = evidence.operations.iter();
    let unseen = operations.filter(|it| it.seen == Some(false));
    unseen.map(move |it| {
        let (service, operation) = (&evidence.service, it.operation.as_str());
        format!("no trace has started at {service} with operation {operation:?} yet")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_control::{ClientCounts, OperationEvidence};
    use spoor_policy::{PolicyFields, PolicyKey, Probability, Strategy, TailPolicy, Target};

    use super::*;

    fn service(name: &str) -> ServiceEvidence {
        ServiceEvidence {
            service: name.parse().unwrap(),
            instances: 1,
            has_reports: true,
            has_roots: false,
            operations: vec![],
            is_partly_expressible: false,
        }
    }

    fn evidence(services: Vec<ServiceEvidence>, root_services: &[&str]) -> Evidence {
        Evidence {
            clients: ClientCounts::default(),
            slowest: None,
            observed: None,
            services,
            root_services: root_services.iter().map(|it| it.parse().unwrap()).collect(),
        }
    }

    fn policy(head: Option<Strategy>) -> Policy {
        let tail = TailPolicy::new(vec![], Probability::NEVER).ok();
        let (key, now) = (
            PolicyKey {
                namespace: Namespace::default(),
                name: "policy".parse().unwrap(),
            },
            jiff::Timestamp::UNIX_EPOCH,
        );
        let target = Target {
            service: "service-x".parse().unwrap(),
            operations: vec![],
        };
        Policy::new(PolicyFields {
            key,
            priority: 0,
            created: now,
            targets: vec![target],
            head,
            tail,
            expires_at: None,
        })
        .unwrap()
    }

    fn with_head() -> Policy {
        policy(Some(Strategy::Probability(Probability::ALWAYS)))
    }

    fn hints(evidence: &Evidence, known: &BTreeSet<ServiceName>) -> Vec<String> {
        super::hints(&with_head(), evidence, known)
    }

    #[test]
    fn tail_rules_need_spans_but_no_instance() {
        let absent = ServiceEvidence {
            instances: 0,
            has_reports: false,
            ..service("service-x")
        };
        let evidence = evidence(vec![absent], &[]);
        let known = BTreeSet::from(["service-x".parse().unwrap()]);
        let tail_only = policy(None);
        assert_eq!(unknown_services(&tail_only, &known), [""; 0]);
        assert_eq!(super::hints(&tail_only, &evidence, &known), [""; 0]);
        let none = BTreeSet::new();
        assert_eq!(
            unknown_services(&tail_only, &none),
            ["no span from service-x has arrived yet"]
        );
        assert_eq!(
            super::hints(&tail_only, &evidence, &none),
            ["no ready instance of service-x is known"]
        );
        assert_eq!(
            unknown_services(&with_head(), &none),
            ["no instance of service-x is known"]
        );
        // A head is applied by instances, no matter which services send spans.
        assert_eq!(hints(&evidence, &known).len(), 1);
    }

    #[test]
    fn names_root_services_and_unseen_operations() {
        let a = ServiceEvidence {
            has_roots: true,
            operations: vec![OperationEvidence {
                operation: "GET /nowhere".parse().unwrap(),
                seen: Some(false),
            }],
            ..service("service-a")
        };
        let evidence = evidence(vec![service("service-b"), a], &["service-a"]);
        assert_eq!(
            hints(&evidence, &BTreeSet::new()),
            [
                "no trace has started at service-b yet; traces start at service-a",
                "no trace has started at service-a with operation \"GET /nowhere\" yet",
            ]
        );
    }

    #[test]
    fn names_all_inner_services_in_one_hint() {
        let inner = vec![service("service-b"), service("reviews")];
        assert_eq!(
            hints(&evidence(inner, &["bands", "service-a"]), &BTreeSet::new()),
            ["no trace has started at service-b, reviews yet; traces start at bands, service-a"]
        );
    }

    #[test]
    fn names_service_without_instances() {
        let absent = ServiceEvidence {
            instances: 0,
            has_reports: false,
            ..service("service-x")
        };
        let evidence = evidence(vec![absent], &["service-a"]);
        assert_eq!(
            hints(&evidence, &BTreeSet::new()),
            ["no ready instance of service-x is known"]
        );
        let known = ["service-a".parse().unwrap()].into();
        assert_eq!(
            hints(&evidence, &known),
            ["no ready instance of service-x is known; did you mean service-a?"]
        );
    }

    #[test]
    fn no_hint_without_reports() {
        let silent = ServiceEvidence {
            has_reports: false,
            ..service("service-b")
        };
        assert!(hints(&evidence(vec![silent], &["service-a"]), &BTreeSet::new()).is_empty());
        assert!(hints(&evidence(vec![service("service-b")], &[]), &BTreeSet::new()).is_empty());
    }

    #[test]
    fn unknown_operations_are_warned_about() {
        let target = |service: &str, operations: &[&str]| Target {
            service: service.parse().unwrap(),
            operations: operations.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let targets = vec![
            target("service-a", &["GET /", "GET /nosuch", "/"]),
            target("silent", &["GET /"]),
        ];
        let (key, now) = (policy(None).key.clone(), jiff::Timestamp::UNIX_EPOCH);
        let head = Some(Strategy::Probability(Probability::ALWAYS));
        let policy = Policy::new(PolicyFields {
            key,
            priority: 0,
            created: now,
            targets,
            head,
            tail: None,
            expires_at: None,
        })
        .unwrap();
        let known = |service: &ServiceName| match service.as_str() {
            "service-a" => Arc::new(
                ["GET /", "GET /no-such"]
                    .map(|it| it.parse().unwrap())
                    .into(),
            ),
            _ => Arc::default(),
        };
        let missing = |operation: &str| {
            format!(
                "operation {operation:?} of service-a has not been seen yet; the policy takes \
                 effect there once it is"
            )
        };
        assert_eq!(
            unknown_operations(&policy, known),
            [
                missing("GET /nosuch") + "; did you mean \"GET /no-such\"?",
                missing("/") + "; known operations: \"GET /\", \"GET /no-such\"",
            ]
        );
    }
}
