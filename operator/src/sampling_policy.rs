//! Validation of sampling policies, which both roles read.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{FieldError, SamplingPolicy, SamplingPolicySpec, read::MAX_ERRORS};
use spoor_policy::Policy;

use crate::kubernetes::{resources::metadata, watch::Key};

/// Validates a policy. None if it is being deleted: a finalizer may keep the object for a long time,
/// but the policy ends when it is deleted.
pub(crate) fn validate(object: &DynamicObject) -> Option<Result<Policy, Vec<String>>> {
    let DynamicObject { metadata, data, .. } = object;
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    let spec = data.get("spec").unwrap_or(&Value::Null);
    let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
    Some(validate_spec(&Key::of(object), spec, created))
}

/// Validates a spec. Returns an error for each invalid field, or one if a field is unknown or has
/// another type. The API server has already refused most invalid specs.
fn validate_spec(key: &Key, spec: &Value, created: Timestamp) -> Result<Policy, Vec<String>> {
    let spec =
        SamplingPolicySpec::deserialize(spec).map_err(|error| vec![format!("spec: {error}")])?;
    SamplingPolicy::new(metadata(key), spec)
        .validate(created)
        .map_err(|errors| format_errors(&errors))
}

/// Formats as many errors as a condition's message should contain.
fn format_errors(errors: &[FieldError]) -> Vec<String> {
    let more = errors.len().saturating_sub(MAX_ERRORS);
    let first = errors.iter().take(MAX_ERRORS).map(ToString::to_string);
    let more = (more > 0).then(|| format!("and {more} more"));
    first.chain(more).collect()
}
