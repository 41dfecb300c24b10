//! Parses policies and stacks. A policy that cannot be parsed is kept with its errors, and does not
//! affect the others.

use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{SamplingPolicyStatus, status::Condition, tracing_stack::SamplerRings};
use spoor_policy::{Namespace, Policy};
use spoor_proto::spoor::sampler::v1::Rings;

use crate::{kubernetes::watch::Key, sampling_policy::validate};

/// A `SamplingPolicy` as it is in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PolicyObject {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    /// The version, which grows with every write.
    pub(super) version: u64,
    /// The policy, or the errors in its fields.
    pub(super) policy: Result<Policy, Vec<String>>,
    pub(super) status: Option<SamplingPolicyStatus>,
}

/// A `TracingStack`, as far as its samplers and its namespace's tail rules depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StackState {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) is_direct_requested: bool,
    /// True if traffic takes the route through the Collector.
    pub(super) is_through_collector: bool,
    /// True if the operator runs what applies tail rules: its Collector, or a sampler behind an
    /// existing one.
    pub(super) can_apply_rules: bool,
    /// True if the Collector's own tail sampler should decide, and not Spoor's.
    pub(super) is_stock_sampler_requested: bool,
    /// The digest of the tail rules in force in its Collector.
    pub(super) tail_digest: Option<String>,
    /// The rings by which its samplers divide traces.
    pub(super) rings: Option<Rings>,
}

/// Parses a policy. Returns none if it is being deleted.
pub(super) fn parse_policy(object: DynamicObject) -> Option<PolicyObject> {
    let policy = validate(&object)?;
    let key = Key::of(&object);
    let DynamicObject { metadata, data, .. } = object;
    Some(PolicyObject {
        key,
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        version: parse_version(metadata.resource_version.as_deref()),
        policy,
        status: data.get("status").and_then(parse_status),
    })
}

/// Parses a stack.
pub(super) fn parse_stack(object: DynamicObject) -> Option<StackState> {
    let DynamicObject { metadata, data, .. } = object;
    let at = |path| data.pointer(path).filter(|value| !value.is_null());
    let text = |path| at(path).and_then(Value::as_str);
    let is_existing = at("/spec/collector/existing").is_some();
    Some(StackState {
        namespace: Namespace::new(metadata.namespace?).ok()?,
        name: metadata.name?,
        is_direct_requested: text("/spec/route") == Some("Direct"),
        is_through_collector: text("/status/route") == Some("Collector"),
        can_apply_rules: !is_existing || at("/spec/collector/existing/kept").is_some(),
        is_stock_sampler_requested: text("/spec/sampler/engine") == Some("OpenTelemetry"),
        tail_digest: text("/status/tail/digest").map(str::to_owned),
        rings: at("/status/sampler/rings").and_then(parse_rings),
    })
}

/// Parses the rings in a stack's status. Returns none if samplers would not accept them, which is
/// possible only if someone has edited the status.
fn parse_rings(value: &Value) -> Option<Rings> {
    let members = value.get("members")?.as_array()?.iter();
    let members = members.map(|members| {
        let members = u32::try_from(members.as_u64()?).ok()?;
        (1..=SamplerRings::MAX_MEMBERS)
            .contains(&members)
            .then_some(members)
    });
    let members: Vec<u32> = members.collect::<Option<_>>()?;
    (!members.is_empty()).then_some(Rings {
        generation: value.get("generation")?.as_u64()?,
        members,
    })
}

/// The resource version as a number, which grows with every write: it is etcd's revision.
pub(super) fn parse_version(resource_version: Option<&str>) -> u64 {
    resource_version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// Parses a status. If it is of another version, keeps only its conditions, since their transition
/// times matter.
pub(super) fn parse_status(value: &Value) -> Option<SamplingPolicyStatus> {
    if let Ok(status) = SamplingPolicyStatus::deserialize(value) {
        return Some(status);
    }
    let conditions = value.get("conditions")?.as_array()?;
    let conditions = conditions
        .iter()
        .filter_map(|it| Condition::deserialize(it).ok());
    Some(SamplingPolicyStatus {
        conditions: conditions.collect(),
        ..SamplingPolicyStatus::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// The rings of a stack with these in its status.
    fn rings_in(status: &Value) -> Option<Rings> {
        let stack = json!({
            "metadata": {"name": "tracing", "namespace": "shop"},
            "spec": {},
            "status": {"sampler": {"engine": "Spoor", "rings": status}},
        });
        parse_stack(serde_json::from_value(stack).unwrap())?.rings
    }

    #[rstest]
    #[case(&[1])]
    #[case(&[1, 3, 2])]
    #[case(&[64])]
    #[case(&[])]
    #[case(&[0])]
    #[case(&[3, 65])]
    fn only_rings_that_samplers_accept_are_kept(#[case] members: &[u32]) {
        let rings = rings_in(&json!({"generation": 1_800_000_000_000_u64, "members": members}));
        let accepted = spoor_traces::Rings::new(1_800_000_000_000, members).is_ok();
        let expected = accepted.then(|| Rings {
            generation: 1_800_000_000_000,
            members: members.to_vec(),
        });
        assert_eq!(rings, expected);
    }

    #[rstest]
    #[case(Value::Null)]
    #[case(json!({"generation": 1}))]
    #[case(json!({"members": [1]}))]
    #[case(json!({"generation": -1, "members": [1]}))]
    #[case(json!({"generation": 1, "members": [1, "3"]}))]
    #[case(json!({"generation": 1, "members": [4_294_967_297_u64]}))]
    fn rings_that_cannot_be_read_are_ignored(#[case] status: Value) {
        assert_eq!(rings_in(&status), None);
    }

    fn object(spec: Value) -> DynamicObject {
        let metadata = json!({
            "name": "p", "namespace": "shop", "uid": "1", "generation": 2, "resourceVersion": "17",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn valid_policy_has_namespace_and_age() {
        let parsed = parse_policy(object(json!({"head": {"probability": "1%"}}))).unwrap();
        assert_eq!((parsed.generation, parsed.version), (Some(2), 17));
        let policy = parsed.policy.unwrap();
        assert_eq!(policy.key.to_string(), "shop/p");
        assert_eq!(policy.created.to_string(), "2026-01-01T00:00:00Z");
    }

    #[rstest]
    #[case(json!({"head": {"probability": "1 %"}}), "spec.head.probability: ")]
    #[case(json!({"head": {"probability": 1}}), "spec: ")]
    #[case(json!({"hat": {}}), "spec: unknown field `hat`")]
    #[case(Value::Null, "spec: ")]
    fn invalid_policy_is_kept_with_its_errors(#[case] spec: Value, #[case] expected: &str) {
        let parsed = parse_policy(object(spec)).unwrap();
        let errors = parsed.policy.unwrap_err();
        assert!(
            errors.iter().any(|error| error.starts_with(expected)),
            "{errors:?}"
        );
    }

    #[test]
    fn policy_being_deleted_is_ignored() {
        let mut going = object(json!({"head": {"probability": "1%"}}));
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert!(parse_policy(going).is_none());
    }

    #[test]
    fn status_of_another_version_keeps_conditions() {
        let condition = json!({
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let strange = json!({"clients": "three", "conditions": [condition, {"type": "Odd"}]});
        let status = parse_status(&strange).unwrap();
        assert_eq!(status.conditions.len(), 1);
        assert_eq!(status.clients, None);
    }
}
