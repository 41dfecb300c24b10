//! From objects as they come to what matters of them. One that can't be read is set aside, with
//! what is wrong, and holds up no other.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{SamplingPolicyStatus, status::Condition};
use spoor_policy::{Namespace, Policy};

use super::validate::validate;
use crate::kubernetes::watch::Key;

/// A `SamplingPolicy` in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    /// Grows with each write, by whomever.
    pub(super) version: u64,
    /// The policy, or what is wrong with it, field by field.
    pub(super) policy: Result<Policy, Vec<String>>,
    pub(super) status: Option<SamplingPolicyStatus>,
}

/// A `TracingStack`, as far as its namespace's tail rules go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) wants_direct: bool,
    /// Whether traffic goes through the Collector by now.
    pub(super) is_through_collector: bool,
    pub(super) has_own_collector: bool,
    /// The tail rules in force at its Collector.
    pub(super) tail_digest: Option<String>,
}

/// Reads a policy; none if it is about to go.
pub(super) fn policy(object: DynamicObject) -> Option<Found> {
    let DynamicObject { metadata, data, .. } = object;
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let key = Key {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
    };
    let created = metadata.creation_timestamp.map(|time| time.0);
    let spec = data.get("spec").unwrap_or(&Value::Null);
    let policy = validate(&key, spec, created.unwrap_or(Timestamp::UNIX_EPOCH));
    Some(Found {
        key,
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        version: version(metadata.resource_version.as_deref()),
        policy,
        status: data.get("status").and_then(status),
    })
}

/// Reads a stack.
pub(super) fn stack(object: DynamicObject) -> Option<Stack> {
    let DynamicObject { metadata, data, .. } = object;
    let at = |path| data.pointer(path).filter(|value| !value.is_null());
    let text = |path| at(path).and_then(Value::as_str);
    Some(Stack {
        namespace: Namespace::new(metadata.namespace?).ok()?,
        name: metadata.name?,
        wants_direct: text("/spec/route") == Some("Direct"),
        is_through_collector: text("/status/route") == Some("Collector"),
        has_own_collector: at("/spec/collector/existing").is_none(),
        tail_digest: text("/status/tail/digest").map(str::to_owned),
    })
}

/// The place of an object in the order of writes.
pub(super) fn version(resource_version: Option<&str>) -> u64 {
    resource_version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// A status that can't be read as a whole still says since when its conditions are.
pub(super) fn status(value: &Value) -> Option<SamplingPolicyStatus> {
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
