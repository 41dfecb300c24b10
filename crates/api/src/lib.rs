//! The custom resources: read from YAML, with errors that name line and field, and validated.
//!
//! A resource consists of unchecked strings and numbers until it is validated:
//! [`SamplingPolicy::validate`] returns a [`spoor_policy::Policy`] and [`TracingStack::validate`] a
//! [`stack::Stack`], both valid by construction, or all errors with their fields. [`crd`] has the
//! same rules for a cluster's API server. The crate has no client and does no I/O.

pub mod changes;
pub mod crd;
mod duration;
mod errors;
mod field;
mod formats;
mod metadata;
mod override_policy;
mod problem;
pub mod read;
mod sampling_policy;
pub mod schema;
pub mod stack;
pub mod status;
pub mod tracing_stack;
mod validate;
mod yaml;

pub use duration::{format_duration, parse_duration};
pub use field::{FieldError, FieldPath};
pub use formats::{EXPIRY_LIMIT, InvalidText};
pub use metadata::Metadata;
pub use override_policy::{InvalidOverride, OverrideFields, override_policy};
pub use sampling_policy::{
    AttributeMatch, ErrorMatch, Head, KeepRule, RateLimitSpec, SamplingPolicy, SamplingPolicySpec,
    Tail, TargetSpec,
};
pub use status::SamplingPolicyStatus;
pub use tracing_stack::{TracingStack, TracingStackSpec, TracingStackStatus};
pub use yaml::to_yaml;

/// The API group.
pub const GROUP: &str = "spoor.dev";
/// The version of the API.
pub const VERSION: &str = "v1alpha1";
/// The `apiVersion` of the resources.
pub const API_VERSION: &str = "spoor.dev/v1alpha1";
