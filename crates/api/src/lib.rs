//! The resources as people write them, read from YAML with errors that name line and field.
//!
//! A resource is only text and numbers until [`SamplingPolicy::validate`] turns it into a
//! [`spoor_policy::Policy`], or [`TracingStack::validate`] into a [`stack::Stack`], which are valid
//! by construction, or says what is wrong, field by field. [`crd`] says the same to a cluster's
//! API server. No client and no I/O.

pub mod crd;
mod duration;
mod errors;
mod field;
mod form;
mod metadata;
mod problem;
pub mod read;
mod sampling_policy;
pub mod schema;
pub mod stack;
pub mod status;
pub mod tracing_stack;
mod validate;
mod yaml;

pub use duration::{InvalidDuration, format_duration, parse_duration};
pub use field::{FieldError, FieldPath};
pub use metadata::Metadata;
pub use sampling_policy::{
    AttributeMatch, ErrorMatch, Head, KeepRule, RateLimit, SamplingPolicy, SamplingPolicySpec,
    Tail, Target,
};
pub use status::SamplingPolicyStatus;
pub use tracing_stack::{TracingStack, TracingStackSpec, TracingStackStatus};
pub use yaml::to_yaml;

/// The API group.
pub const GROUP: &str = "spoor.dev";
/// The version of the API.
pub const VERSION: &str = "v1alpha1";
/// What `apiVersion` says.
pub const API_VERSION: &str = "spoor.dev/v1alpha1";
