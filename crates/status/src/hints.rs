//! Hints at why a policy that everybody has may still decide nothing.

use std::collections::BTreeSet;

use spoor_control::{Evidence, ServiceEvidence};
use spoor_policy::{Policy, ServiceName, closest};

/// More services than a message should name.
const MAX_NAMED: usize = 5;

/// Warnings for the services that a policy names and nobody knows, each a sentence without its
/// full stop.
#[must_use]
pub fn unknown_services(policy: &Policy, known: &BTreeSet<ServiceName>) -> Vec<String> {
    let named = policy.targets().iter().map(|target| &target.service);
    let unknown: BTreeSet<&ServiceName> = named.filter(|it| !known.contains(*it)).collect();
    let warn = |service: &ServiceName| {
        format!(
            "no instance of {service} is known{}",
            did_you_mean(service, known)
        )
    };
    let more = unknown.len().saturating_sub(MAX_NAMED);
    let more = (more > 0).then(|| format!("no instance of {more} more services is known"));
    let named = unknown.into_iter().take(MAX_NAMED).map(warn);
    named.chain(more).collect()
}

/// Sentences without their full stops.
pub(crate) fn hints(evidence: &Evidence, known: &BTreeSet<ServiceName>) -> Vec<String> {
    let (running, unknown): (Vec<_>, Vec<_>) =
        evidence.services.iter().partition(|it| it.instances > 0);
    // Only who reports can be missed in what is reported.
    let reporting = running.into_iter().filter(|it| it.reports);
    let (starting, inner): (Vec<_>, Vec<_>) = reporting.partition(|it| it.roots_seen);

    let mut hints = vec![];
    if !unknown.is_empty() {
        let meant = match unknown[..] {
            [one] => did_you_mean(&one.service, known),
            _ => String::new(),
        };
        let names = names(unknown);
        hints.push(format!("no ready instance of {names} is known{meant}"));
    }
    if !inner.is_empty() && !evidence.roots_at.is_empty() {
        let roots: Vec<&str> = evidence.roots_at.iter().map(|it| it.as_str()).collect();
        hints.push(format!(
            "no trace starts at {}: roots are at {}",
            names(inner),
            roots.join(", ")
        ));
    }
    hints.extend(starting.into_iter().flat_map(never_seen));
    hints
}

/// Nothing where no known name is close.
fn did_you_mean(service: &ServiceName, known: &BTreeSet<ServiceName>) -> String {
    closest(service, known).map_or_else(String::new, |meant| format!(": did you mean {meant}?"))
}

fn names(services: Vec<&ServiceEvidence>) -> String {
    let names: Vec<&str> = services.iter().map(|it| it.service.as_str()).collect();
    names.join(", ")
}

fn never_seen(evidence: &ServiceEvidence) -> impl Iterator<Item = String> {
    let name = &evidence.service;
    let operations = evidence.operations.iter();
    operations
        .filter(|it| it.seen == Some(false))
        .map(move |it| format!("no trace of {name} starts as {:?}", it.operation.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_control::{Clients, OperationEvidence};

    use super::*;

    fn service(name: &str) -> ServiceEvidence {
        ServiceEvidence {
            service: name.parse().unwrap(),
            instances: 1,
            reports: true,
            roots_seen: false,
            operations: vec![],
            partly_expressible: false,
        }
    }

    fn evidence(services: Vec<ServiceEvidence>, roots_at: &[&str]) -> Evidence {
        Evidence {
            clients: Clients::default(),
            slowest: None,
            observed: None,
            services,
            roots_at: roots_at.iter().map(|it| it.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn name_the_services_where_traces_start_and_the_operations_that_never_match() {
        let a = ServiceEvidence {
            roots_seen: true,
            operations: vec![OperationEvidence {
                operation: "GET /nowhere".parse().unwrap(),
                seen: Some(false),
            }],
            ..service("service-a")
        };
        let found = evidence(vec![service("service-b"), a], &["service-a"]);
        assert_eq!(
            hints(&found, &BTreeSet::new()),
            [
                "no trace starts at service-b: roots are at service-a",
                "no trace of service-a starts as \"GET /nowhere\"",
            ]
        );
    }

    #[test]
    fn name_all_services_where_no_trace_starts_at_once() {
        let inner = vec![service("service-b"), service("reviews")];
        assert_eq!(
            hints(&evidence(inner, &["bands", "service-a"]), &BTreeSet::new()),
            ["no trace starts at service-b, reviews: roots are at bands, service-a"]
        );
    }

    #[test]
    fn name_the_service_that_nobody_runs() {
        let nobody = ServiceEvidence {
            instances: 0,
            reports: false,
            ..service("service-x")
        };
        let found = evidence(vec![nobody], &["service-a"]);
        assert_eq!(
            hints(&found, &BTreeSet::new()),
            ["no ready instance of service-x is known"]
        );
        let known = ["service-a".parse().unwrap()].into();
        assert_eq!(
            hints(&found, &known),
            ["no ready instance of service-x is known: did you mean service-a?"]
        );
    }

    #[test]
    fn say_nothing_of_what_nobody_reports() {
        let stock = ServiceEvidence {
            reports: false,
            ..service("service-b")
        };
        assert!(hints(&evidence(vec![stock], &["service-a"]), &BTreeSet::new()).is_empty());
        assert!(hints(&evidence(vec![service("service-b")], &[]), &BTreeSet::new()).is_empty());
    }
}
