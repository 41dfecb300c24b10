//! Parses stacks and sampling policies. The watches keep what [`stack_object`] and [`tail_policy`]
//! return; a reconciliation calls [`parse`].

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{
    TracingStack,
    tracing_stack::{TracingStackSpec, TracingStackStatus},
};
use spoor_policy::{Policy, Resolution, resolve};

use crate::{
    kubernetes::{resources::metadata, watch::Key},
    sampling_policy::validate,
};

/// A stack as the API server sent it, with its spec and status unparsed.
#[derive(Clone, Debug, PartialEq)]
pub struct StackObject {
    /// The namespace and name.
    pub key: Key,
    /// The uid, which differs from that of an earlier stack of the same name.
    pub uid: String,
    /// The generation, which counts the changes to `spec`.
    pub generation: Option<i64>,
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
    // Not parsed yet: a spec that cannot be parsed is an error in the status of this stack only.
    Some(StackObject {
        key,
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        is_being_deleted: metadata.deletion_timestamp.is_some(),
        spec: data.get_mut("spec").map(Value::take).unwrap_or_default(),
        status: data.get_mut("status").map(Value::take).unwrap_or_default(),
    })
}

/// Parses a sampling policy if it has tail rules. Head and tail are resolved separately, so policies
/// without tail rules do not affect a stack. Errors are left to the `policies` role to report.
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
        // A status of another version of the operator is replaced as a whole.
        status: TracingStackStatus::deserialize(&object.status).unwrap_or_default(),
        resolution: resolve(policies, now),
    }
}
