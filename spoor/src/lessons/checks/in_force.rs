//! The policies effective for a service, and the time since when.

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicy,
    status::{ConditionStatus, EffectivePlace},
};

use crate::lessons::report::Report;

/// A part of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Head,
    Tail,
}

/// The policies with the strategies of one of their parts that are effective for the service.
/// Those that name it take precedence over those for all services.
pub(super) fn effective_at<'a>(
    policies: &'a [SamplingPolicy],
    service: &str,
    part: Part,
) -> Vec<(&'a SamplingPolicy, &'a EffectivePlace)> {
    let entries = policies.iter().flat_map(|policy| {
        let effective = policy.status.iter().flat_map(|status| &status.effective);
        effective.map(move |entry| (policy, entry))
    });
    let is_effective = |entry: &EffectivePlace| {
        let of = entry.service.as_deref();
        let is_tail = entry.strategy.starts_with("tail");
        is_tail == (part == Part::Tail) && of.is_none_or(|named| named == service)
    };
    let (named, others): (Vec<_>, Vec<_>) = entries
        .filter(|(_, entry)| is_effective(entry))
        .partition(|(_, entry)| entry.service.is_some());
    if named.is_empty() { others } else { named }
}

/// The policies because of which traces of the service may be missing, if any.
pub(crate) fn dropping_policies(policies: &[SamplingPolicy], service: &str) -> Option<String> {
    let parts = [Part::Head, Part::Tail];
    let effective = parts.map(|part| effective_at(policies, service, part));
    let names = effective
        .iter()
        .flatten()
        .filter(|(_, entry)| entry.strategy != "100%")
        .map(|(policy, entry)| format!("policy {} ({})", policy.metadata.name, entry.strategy));
    let names = names.collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then_some(names)
}

/// Reports a policy with tail rules for the service, which drop traces that its head sampled.
pub(super) fn check_no_tail(report: &mut Report, policies: &[SamplingPolicy], service: &str) {
    if let Some((policy, _)) = effective_at(policies, service, Part::Tail).first() {
        let what = format!("every sampled trace of {service} is kept");
        let name = &policy.metadata.name;
        let seen = format!("tail rules of policy {name} drop some; delete it, and send load again");
        report.wrong(&what, seen);
    }
}

/// The time since which a condition of the current policy has been true.
pub(super) fn since(policy: &SamplingPolicy, condition: &str) -> Option<Timestamp> {
    let condition = policy.condition(condition)?;
    // The time of a false condition is that of its failure.
    let is_true = condition.status == ConditionStatus::True;
    is_true.then(|| condition.last_transition_time.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn policy(name: &str, service: Option<&str>, strategy: &str) -> SamplingPolicy {
        let effective = json!([{"service": service, "strategy": strategy}]);
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": name},
            "spec": {},
            "status": {"effective": effective},
        });
        serde_json::from_value(policy).unwrap()
    }

    #[test]
    fn names_the_policies_that_drop() {
        let off = policy("off", Some("bands"), "0%");
        let all = policy("all", Some("bands"), "100%");
        let tail = policy("slow", None, "tail rules, otherwise 0%");
        let rest = policy("rest", None, "1%");
        let named = |policies: &[SamplingPolicy], service| dropping_policies(policies, service);
        let off = [off];
        assert_eq!(named(&off, "bands").unwrap(), "policy off (0%)");
        assert_eq!(named(&off, "reviews"), None);
        assert_eq!(named(&[all.clone(), rest], "bands"), None);
        let found = named(&[all, tail], "bands").unwrap();
        assert_eq!(found, "policy slow (tail rules, otherwise 0%)");
    }
}
