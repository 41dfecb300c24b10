//! The columns of the table of policies.

use std::collections::BTreeSet;

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicy,
    status::{Condition, ConditionStatus, PolicySummary},
};
use spoor_policy::message::listed;

use super::duration::age;

/// A column of the table: its heading, and the function that returns a policy's cell.
pub type Column = (&'static str, fn(&SamplingPolicy) -> String);

/// The columns of the default table.
pub const COLUMNS: [Column; 7] = [
    ("NAME", |policy| policy.metadata.name.clone()),
    ("STRATEGY", strategy),
    ("ACCEPTED", accepted),
    ("CONVERGED", |it| condition(it, Condition::CONVERGED)),
    ("CLIENTS", |it| summary(it, |it| it.clients.as_ref())),
    ("OBSERVED", |it| summary(it, |it| it.observed.as_ref())),
    ("AGE", |policy| {
        let created = policy.metadata.creation_timestamp.as_deref();
        let created = created.and_then(|created| created.parse().ok());
        created.map_or_else(String::new, |created| age(created, Timestamp::now()))
    }),
];

/// The additional columns of the wide table.
pub const WIDE_COLUMNS: [Column; 5] = [
    ("TAIL", |it| summary(it, |it| it.tail.as_ref())),
    ("PRIORITY", |policy| policy.spec.priority.to_string()),
    ("TARGETS", targets),
    ("EXPIRES", |policy| {
        policy.spec.expires_at.clone().unwrap_or_default()
    }),
    ("REASON", |policy| {
        let accepted = policy.condition(Condition::ACCEPTED);
        accepted.map_or_else(String::new, |accepted| accepted.reason.clone())
    }),
];

/// A policy's head and tail, such as `1%` or `100% + tail rules, otherwise 10%`.
pub fn strategy(policy: &SamplingPolicy) -> String {
    let head = policy.spec.head.as_ref().and_then(|head| {
        let rate = head.rate_limit.as_ref();
        let rate = || rate.map(|rate| format!("{}/s", rate.traces_per_second));
        head.probability.clone().or_else(rate)
    });
    let tail = policy.spec.tail.as_ref();
    let tail = tail.map(|tail| format!("tail rules, otherwise {}", tail.otherwise));
    head.into_iter().chain(tail).collect::<Vec<_>>().join(" + ")
}

/// A policy's services and operations, such as `service-a(GET /)`.
pub fn targets(policy: &SamplingPolicy) -> String {
    let targets = policy.spec.targets.iter();
    let targets = targets.map(|target| match target.operations.as_slice() {
        [] => target.service.clone(),
        operations => format!("{}({})", target.service, operations.join(",")),
    });
    match targets.collect::<Vec<String>>().as_slice() {
        [] => "all services".into(),
        targets => targets.join(","),
    }
}

/// The policies that override this one, such as `one, two and 3 more`.
pub fn winners(policy: &SamplingPolicy) -> String {
    // A table column: `describe` and `-o yaml` list every place that the status has.
    const MAX_NAMED: usize = 2;
    let overridden = policy.status.as_ref().map(|status| &status.overridden);
    // A policy may be overridden at many places by the same one, which is named once.
    let places = overridden.into_iter().flatten();
    let names: BTreeSet<&str> = places.map(|place| place.by.as_str()).collect();
    listed(&Vec::from_iter(names), MAX_NAMED)
}

/// The status of the condition `Accepted`, with the reason unless it is true.
fn accepted(policy: &SamplingPolicy) -> String {
    match policy.condition(Condition::ACCEPTED) {
        Some(condition) if condition.status != ConditionStatus::True => {
            format!("{} ({})", condition.status, condition.reason)
        }
        _ => condition(policy, Condition::ACCEPTED),
    }
}

fn summary(
    policy: &SamplingPolicy,
    text: impl FnOnce(&PolicySummary) -> Option<&String>,
) -> String {
    let summary = policy.status.as_ref().and_then(|it| it.summary.as_ref());
    summary.and_then(text).cloned().unwrap_or_default()
}

fn condition(policy: &SamplingPolicy, kind: &str) -> String {
    let condition = policy.condition(kind);
    condition.map_or_else(String::new, |condition| condition.status.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};
    use spoor_api::crd;

    use super::*;

    /// The columns of kubectl in capitals, each with the path of its value.
    fn kubectl_columns() -> BTreeMap<String, String> {
        let definition = crd::sampling_policy();
        let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
        let column = |column: &Value| {
            let text = |key: &str| column[key].as_str().unwrap().to_owned();
            (text("name").to_uppercase(), text("jsonPath"))
        };
        columns.as_array().unwrap().iter().map(column).collect()
    }

    #[test]
    fn kubectl_has_the_same_columns() {
        let of_kubectl = kubectl_columns();
        let of_kubectl: BTreeSet<&str> = of_kubectl.keys().map(String::as_str).collect();
        let columns = COLUMNS.into_iter().chain(WIDE_COLUMNS);
        let ours: BTreeSet<&str> = columns.map(|(heading, _)| heading).collect();
        // kubectl adds the name itself. Its columns are paths, so none of them can be computed or
        // depend on another one.
        let only_here = BTreeSet::from(["NAME", "REASON", "TARGETS"]);
        let only_there = BTreeSet::from(["MESSAGE", "PROGRAMMED"]);
        assert_eq!(&ours - &of_kubectl, only_here);
        assert_eq!(&of_kubectl - &ours, only_there);
    }

    /// The policy is as the API server returns it, with defaults filled in.
    #[test]
    fn kubectl_shows_the_same_cells() {
        let written = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "a"},
            "spec": {
                "head": {"probability": "5%"},
                "tail": {"otherwise": "1%"},
                "expiresAt": "2027-01-01T12:00:00Z",
            },
            "status": {"conditions": [], "summary": {
                "strategy": "5% + tail rules, otherwise 1%",
                "clients": "3/3",
                "observed": "5% Consistent",
                "tail": "14.3% of 12600, otherwise 1% Consistent",
            }},
        });
        let policy: SamplingPolicy = serde_json::from_value(written).unwrap();
        let stored = serde_json::to_value(&policy).unwrap();
        let (of_kubectl, mut compared) = (kubectl_columns(), BTreeMap::new());
        for (heading, cell) in COLUMNS.into_iter().chain(WIDE_COLUMNS) {
            let Some(path) = of_kubectl.get(heading) else {
                continue;
            };
            // The paths of conditions have a filter, so they are not JSON pointers.
            if let Some(found) = stored.pointer(&path.replace('.', "/")) {
                let shown = found
                    .as_str()
                    .map_or_else(|| found.to_string(), str::to_owned);
                assert_eq!(cell(&policy), shown, "{heading}");
                compared.insert(heading, shown);
            }
        }
        assert_eq!(compared["PRIORITY"], "0");
        assert_eq!(compared.len(), 6, "{compared:?}");
    }
}
