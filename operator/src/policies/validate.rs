//! From what a policy says to what it means: valid by construction, or what is wrong with it.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{Metadata, SamplingPolicy, SamplingPolicySpec};
use spoor_policy::Policy;

use crate::kubernetes::watch::Key;

/// Checks a policy's specification. Most of what can be wrong the API server has refused already.
///
/// # Errors
/// Each field that is wrong.
pub(super) fn validate(key: &Key, spec: &Value, created: Timestamp) -> Result<Policy, Vec<String>> {
    let spec =
        SamplingPolicySpec::deserialize(spec).map_err(|error| vec![format!("spec: {error}")])?;
    let metadata = Metadata {
        namespace: Some(key.namespace.clone()),
        ..Metadata::named(&key.name)
    };
    SamplingPolicy::new(metadata, spec)
        .validate(created)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}
