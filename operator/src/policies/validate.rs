//! Validation of a policy's spec.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use spoor_api::{FieldError, SamplingPolicy, SamplingPolicySpec, read::MAX_ERRORS};
use spoor_policy::Policy;

use crate::kubernetes::{resources::metadata, watch::Key};

/// Validates a policy's spec. The API server has already refused most invalid ones.
///
/// # Errors
/// Each field that is wrong.
pub(super) fn validate(key: &Key, spec: &Value, created: Timestamp) -> Result<Policy, Vec<String>> {
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
    first
        .chain((more > 0).then(|| format!("and {more} more")))
        .collect()
}
