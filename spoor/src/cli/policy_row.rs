//! A policy as a row of a table.

use std::collections::BTreeSet;

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicy,
    status::{Condition, ConditionStatus},
};

use super::duration::age;

/// The columns of [`row`].
pub const HEADINGS: [&str; 7] = [
    "NAME",
    "STRATEGY",
    "ACCEPTED",
    "CONVERGED",
    "CLIENTS",
    "OBSERVED",
    "AGE",
];
/// The further columns of [`wide_cells`].
pub const WIDE_HEADINGS: [&str; 4] = ["PRIORITY", "TARGETS", "EXPIRES", "REASON"];

/// The cells of a policy in the default table.
pub fn row(policy: &SamplingPolicy, now: Timestamp) -> Vec<String> {
    let status = policy.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    let created = policy.metadata.creation_timestamp.as_deref();
    let created = created.and_then(|created| created.parse::<Timestamp>().ok());
    vec![
        policy.metadata.name.clone(),
        strategy(policy),
        accepted(policy),
        condition(policy, Condition::CONVERGED),
        summary
            .and_then(|it| it.clients.clone())
            .unwrap_or_default(),
        summary
            .and_then(|it| it.observed.clone())
            .unwrap_or_default(),
        created.map_or_else(String::new, |created| age(created, now)),
    ]
}

/// The further cells of a policy in the wide table.
pub fn wide_cells(policy: &SamplingPolicy) -> [String; 4] {
    let reason = find(policy, Condition::ACCEPTED).map(|condition| condition.reason.clone());
    [
        policy.spec.priority.to_string(),
        targets(policy),
        policy.spec.expires_at.clone().unwrap_or_default(),
        reason.unwrap_or_default(),
    ]
}

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
    let targets = policy.spec.targets.iter().map(|target| {
        if target.operations.is_empty() {
            target.service.clone()
        } else {
            format!("{}({})", target.service, target.operations.join(","))
        }
    });
    let targets: Vec<String> = targets.collect();
    if targets.is_empty() {
        "all services".into()
    } else {
        targets.join(",")
    }
}

/// The policies that override this one, such as `one, two and 3 more`.
pub fn winners(policy: &SamplingPolicy) -> String {
    // A table column: `describe` and `-o yaml` list all of them.
    const MAX_NAMED: usize = 2;
    let overridden = policy.status.as_ref().map(|status| &status.overridden);
    // A policy may be overridden at many places by the same one, which is named once.
    let names: BTreeSet<&str> = overridden
        .into_iter()
        .flatten()
        .map(|place| place.by.as_str())
        .collect();
    let named: Vec<&str> = names.iter().copied().take(MAX_NAMED).collect();
    match names.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The status of the condition `Accepted`, with the reason unless it is true.
fn accepted(policy: &SamplingPolicy) -> String {
    match find(policy, Condition::ACCEPTED) {
        Some(condition) if condition.status != ConditionStatus::True => {
            format!("{} ({})", status_word(condition.status), condition.reason)
        }
        _ => condition(policy, Condition::ACCEPTED),
    }
}

fn condition(policy: &SamplingPolicy, kind: &str) -> String {
    find(policy, kind).map_or_else(String::new, |condition| {
        status_word(condition.status).into()
    })
}

fn find<'a>(policy: &'a SamplingPolicy, kind: &str) -> Option<&'a Condition> {
    policy
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.kind == kind)
}

/// The status as Kubernetes writes it.
pub fn status_word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}
