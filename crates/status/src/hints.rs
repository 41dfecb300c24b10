//! Why a policy that everybody has may still decide nothing.

use spoor_control::{Evidence, ServiceEvidence};

/// Sentences without their full stops.
pub(crate) fn hints(evidence: &Evidence) -> Vec<String> {
    let roots_at: Vec<&str> = evidence
        .roots_at
        .iter()
        .map(|service| service.as_str())
        .collect();
    evidence
        .services
        .iter()
        .flat_map(|service| of_service(service, &roots_at))
        .collect()
}

fn of_service(service: &ServiceEvidence, roots_at: &[&str]) -> Vec<String> {
    let name = &service.service;
    if service.instances == 0 {
        return vec![format!("no ready instance of {name} is known")];
    }
    // Only who reports can be missed in what is reported.
    if !service.reports {
        return vec![];
    }
    if !service.roots_seen {
        return match roots_at {
            [] => vec![],
            _ => vec![format!(
                "no trace starts at {name}: roots are at {}",
                roots_at.join(", ")
            )],
        };
    }
    let never_seen = service
        .operations
        .iter()
        .filter(|it| it.seen == Some(false));
    never_seen
        .map(|it| format!("no trace of {name} starts as {:?}", it.operation.as_str()))
        .collect()
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
            hints(&found),
            [
                "no trace starts at service-b: roots are at service-a",
                "no trace of service-a starts as \"GET /nowhere\"",
            ]
        );
    }

    #[test]
    fn name_the_service_that_nobody_runs() {
        let nobody = ServiceEvidence {
            instances: 0,
            reports: false,
            ..service("service-x")
        };
        assert_eq!(
            hints(&evidence(vec![nobody], &["service-a"])),
            ["no ready instance of service-x is known"]
        );
    }

    #[test]
    fn say_nothing_of_what_nobody_reports() {
        let stock = ServiceEvidence {
            reports: false,
            ..service("service-b")
        };
        assert!(hints(&evidence(vec![stock], &["service-a"])).is_empty());
        assert!(hints(&evidence(vec![service("service-b")], &[])).is_empty());
    }
}
