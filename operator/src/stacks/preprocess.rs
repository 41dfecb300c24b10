//! Step 2: from objects as they come to what they ask for.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{
    SamplingPolicy, SamplingPolicySpec, TracingStack,
    tracing_stack::{TracingStackSpec, TracingStackStatus},
};
use spoor_policy::{Policy, TailTable, resolve};

use super::dereference::Seen;
use crate::kubernetes::{resources::metadata, watch::Key};

/// What a stack asks for, as far as it can be read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The stack, or why it can't be read.
    pub stack: Result<TracingStack, String>,
    /// What was last said of it.
    pub status: TracingStackStatus,
    /// The tail rules of its namespace.
    pub tail: TailTable,
    /// When these end by themselves.
    pub next_expiry: Option<Timestamp>,
}

/// Reads a stack, and resolves the policies of its namespace.
#[must_use]
pub fn preprocess(seen: &Seen, policies: &[Policy], now: Timestamp) -> Asked {
    // A stack without `spec` asks for the defaults.
    let spec = match &seen.spec {
        Value::Null => Ok(TracingStackSpec::default()),
        spec => TracingStackSpec::deserialize(spec).map_err(|error| format!("spec: {error}")),
    };
    let resolution = resolve(policies, now);
    Asked {
        stack: spec.map(|spec| TracingStack::new(metadata(&seen.key), spec)),
        // One of another version is written anew.
        status: TracingStackStatus::deserialize(&seen.status).unwrap_or_default(),
        tail: resolution.tail,
        next_expiry: resolution.next_expiry,
    }
}

/// Reads a sampling policy that has tail rules: head and tail are resolved apart, so the others
/// change nothing of a stack. What is wrong with one is the role `policies`' to say.
#[must_use]
pub fn policy(object: DynamicObject) -> Option<Policy> {
    let key = Key::of(&object);
    let DynamicObject {
        metadata: of, data, ..
    } = object;
    if of.deletion_timestamp.is_some() {
        return None;
    }
    let created = of.creation_timestamp.map(|time| time.0);
    let spec = SamplingPolicySpec::deserialize(data.get("spec")?).ok()?;
    SamplingPolicy::new(metadata(&key), spec)
        .validate(created.unwrap_or(Timestamp::UNIX_EPOCH))
        .ok()
        .filter(|policy| policy.tail().is_some())
}
