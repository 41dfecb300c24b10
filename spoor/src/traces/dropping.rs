//! The policies effective for a service, and those among them that do not keep every trace.

use std::collections::BTreeMap;

use spoor_api::{SamplingPolicy, status::EffectivePlace};
use spoor_policy::Part;

/// The policies of which this part is effective for the service, each with its strategy there.
/// Policies that name the service take precedence over those for all services.
pub(crate) fn effective_at<'a>(
    policies: &'a [SamplingPolicy],
    service: &str,
    part: Part,
) -> Vec<(&'a SamplingPolicy, &'a EffectivePlace)> {
    let entries = policies.iter().flat_map(|policy| {
        let effective = policy.status.iter().flat_map(|status| &status.effective);
        effective.map(move |entry| (policy, entry))
    });
    let is_effective = |entry: &EffectivePlace| {
        let target = entry.service.as_deref();
        let is_tail = entry.strategy.starts_with("tail");
        is_tail == (part == Part::Tail) && target.is_none_or(|named| named == service)
    };
    let (mut named, others): (Vec<_>, Vec<_>) = entries
        .filter(|(_, entry)| is_effective(entry))
        .partition(|(_, entry)| entry.service.is_some());
    // Entries for single operations leave the other operations to the policies of the namespace.
    if named.iter().all(|(_, entry)| entry.operation.is_some()) {
        named.extend(others);
    }
    named
}

/// A message that names the policies whose heads or tails (`parts`) may be the reason why traces of
/// the service are missing, and says what to do. `None` if there are no such policies.
pub(crate) fn dropping_policies(
    policies: &[SamplingPolicy],
    service: &str,
    parts: &[Part],
) -> Option<String> {
    let parts = parts.iter();
    let dropping = parts.flat_map(|part| effective_at(policies, service, *part));
    let mut strategies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (policy, entry) in dropping.filter(|(_, entry)| entry.strategy != "100%") {
        // One policy can be effective with several strategies: its head's and its tail's.
        let of_policy = strategies.entry(&policy.metadata.name).or_default();
        of_policy.push(&entry.strategy);
    }
    let name =
        |(name, of_policy): (&&str, &Vec<&str>)| format!("{name} ({})", of_policy.join(", "));
    let names = strategies.iter().map(name).collect::<Vec<_>>().join(", ");
    match strategies.len() {
        0 => None,
        1 => Some(format!("policy {names} is in force; delete it")),
        _ => Some(format!("policies {names} are in force; delete them")),
    }
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
        let named = |policies: &[SamplingPolicy], service| {
            dropping_policies(policies, service, &[Part::Head, Part::Tail])
        };
        assert_eq!(named(std::slice::from_ref(&off), "reviews"), None);
        assert_eq!(named(&[all.clone(), rest], "bands"), None);
        assert_eq!(
            named(&[all, tail.clone()], "bands").unwrap(),
            "policy slow (tail rules, otherwise 0%) is in force; delete it"
        );
        let by_tail =
            |policies: &[SamplingPolicy]| dropping_policies(policies, "bands", &[Part::Tail]);
        assert_eq!(by_tail(std::slice::from_ref(&off)), None);
        assert!(
            by_tail(&[off.clone(), tail.clone()])
                .unwrap()
                .starts_with("policy slow ")
        );
        assert_eq!(
            named(&[off, tail], "bands").unwrap(),
            "policies off (0%), slow (tail rules, otherwise 0%) are in force; delete them"
        );
    }

    #[test]
    fn operation_leaves_others_to_the_namespace() {
        let mut hunt = policy("hunt", Some("bands"), "100%");
        hunt.status.as_mut().unwrap().effective[0].operation = Some("GET /".to_owned());
        let policies = [hunt, policy("rest", None, "1%")];
        assert_eq!(effective_at(&policies, "bands", Part::Head).len(), 2);
    }
}
