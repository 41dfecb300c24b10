//! Parses stacks and sampling policies. The watches keep what [`stack_object`] and [`tail_policy`]
//! return; a reconciliation calls [`parse`].

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{
    TracingStack,
    tracing_stack::{SamplerStatus, TracingStackSpec, TracingStackStatus},
};
use spoor_policy::{Policy, Resolution, resolve};

use crate::{
    kubernetes::{resources::metadata, watch::Key},
    sampling_policy::validate,
};

/// The annotation of a stack with the ordinals of samplers that scaling does not wait for,
/// separated by commas. The spans that these samplers hold are lost.
pub const FORGET_SAMPLERS: &str = "spoor.dev/forget-samplers";

/// A stack as the API server sent it, with its spec and status unparsed.
#[derive(Clone, Debug, PartialEq)]
pub struct StackObject {
    /// The namespace and name.
    pub key: Key,
    /// The uid, which differs from that of an earlier stack of the same name.
    pub uid: String,
    /// The generation, which counts the changes to `spec`.
    pub generation: Option<i64>,
    /// The version that its status is written for.
    pub resource_version: Option<String>,
    /// The ordinals in the annotation [`FORGET_SAMPLERS`].
    pub forgotten_samplers: BTreeSet<u16>,
    /// True while the stack is being deleted.
    pub is_being_deleted: bool,
    /// The `spec`.
    pub spec: Value,
    /// The `status`.
    pub status: Value,
}

/// A parsed stack and the tail rules of its namespace.
#[derive(Clone, Debug)]
pub struct ParsedStack {
    /// The stack, or the reason why its spec cannot be parsed.
    pub stack: Result<TracingStack, String>,
    /// The status that was written last.
    pub status: TracingStackStatus,
    /// The policies of its namespace that have tail rules, resolved.
    pub resolution: Resolution,
}

/// Keeps what reconciling a stack needs.
#[must_use]
pub fn stack_object(object: DynamicObject) -> Option<StackObject> {
    let key = Key::of(&object);
    let (metadata, mut data) = (object.metadata, object.data);
    let annotations = metadata.annotations.unwrap_or_default();
    let forgotten = annotations.get(FORGET_SAMPLERS).map(String::as_str);
    let forgotten = forgotten.unwrap_or_default().split(',');
    // Not parsed yet: a spec that cannot be parsed is an error in the status of this stack only.
    Some(StackObject {
        key,
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        resource_version: metadata.resource_version,
        forgotten_samplers: forgotten.filter_map(|it| it.trim().parse().ok()).collect(),
        is_being_deleted: metadata.deletion_timestamp.is_some(),
        spec: data.get_mut("spec").map(Value::take).unwrap_or_default(),
        status: data.get_mut("status").map(Value::take).unwrap_or_default(),
    })
}

/// Parses a sampling policy if it has tail rules. Head and tail are resolved separately, so
/// policies without tail rules do not affect a stack. Errors are left to the `policies` role to
/// report.
#[must_use]
pub fn tail_policy(object: DynamicObject) -> Option<Policy> {
    let policy = validate(&object)?.ok()?;
    policy.tail.is_some().then_some(policy)
}

/// Parses a stack, and resolves the policies of its namespace.
#[must_use]
pub fn parse(object: &StackObject, policies: &[Policy], now: Timestamp) -> ParsedStack {
    // A stack without `spec` has the defaults.
    let spec = match &object.spec {
        Value::Null => Ok(TracingStackSpec::default()),
        spec => TracingStackSpec::deserialize(spec).map_err(|error| format!("spec: {error}")),
    };
    ParsedStack {
        stack: spec.map(|spec| TracingStack::new(metadata(&object.key), spec)),
        status: parse_status(&object.status),
        resolution: resolve(policies, now),
    }
}

/// Parses a status. If it cannot be parsed, as another version of the operator wrote it, only the
/// samplers' part is read: without their rings, traces would be split.
fn parse_status(status: &Value) -> TracingStackStatus {
    TracingStackStatus::deserialize(status).unwrap_or_else(|_| {
        let sampler = status.get("sampler");
        TracingStackStatus {
            sampler: sampler.and_then(|it| SamplerStatus::deserialize(it).ok()),
            ..TracingStackStatus::default()
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({}), &[])]
    #[case(json!({FORGET_SAMPLERS: "2"}), &[2])]
    #[case(json!({FORGET_SAMPLERS: "3, 2,x,-1"}), &[2, 3])]
    fn annotation_names_forgotten_samplers(#[case] annotations: Value, #[case] expected: &[u16]) {
        let metadata = json!({"name": "a", "resourceVersion": "7", "annotations": annotations});
        let object = stack_object(serde_json::from_value(json!({"metadata": metadata})).unwrap());
        let object = object.unwrap();
        assert_eq!(object.resource_version.as_deref(), Some("7"));
        assert!(object.forgotten_samplers.iter().eq(expected));
    }

    #[test]
    fn status_of_another_version_keeps_the_rings() {
        let rings = json!({"generation": 7, "members": [3, 1]});
        let sampler = json!({"engine": "Spoor", "replicas": 3, "readyReplicas": 3, "rings": rings});
        let status = parse_status(&json!({"route": "Elsewhere", "sampler": sampler}));
        let rings = status.sampler.unwrap().rings.unwrap();
        assert_eq!((rings.generation, rings.members), (7, vec![3, 1]));
        assert_eq!(parse_status(&Value::Null), TracingStackStatus::default());
    }
}
