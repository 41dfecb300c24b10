//! `SamplingPolicy`: whose traces are sampled, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{API_VERSION, Metadata, SamplingPolicyStatus};

/// Says which traces are kept of which services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingPolicy {
    /// `spoor.dev/v1alpha1`.
    #[schemars(example = &"spoor.dev/v1alpha1")]
    pub api_version: String,
    /// `SamplingPolicy`.
    #[schemars(example = &"SamplingPolicy")]
    pub kind: String,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: SamplingPolicySpec,
    /// What became of it; written by Spoor, ignored when read from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SamplingPolicyStatus>,
}

impl SamplingPolicy {
    /// What `kind` says.
    pub const KIND: &str = "SamplingPolicy";

    /// A policy without status.
    #[must_use]
    pub fn new(metadata: Metadata, spec: SamplingPolicySpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            metadata,
            spec,
            status: None,
        }
    }
}

/// What a [`SamplingPolicy`] asks for: `head`, `tail` or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingPolicySpec {
    /// Between equally specific policies the higher wins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// The services it is for; none: every service in the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    pub targets: Vec<Target>,
    /// What decides where a trace starts: exactly one member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// What decides once a trace is whole; needs a Collector or the lab's own pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// When it ends by itself, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), example = &"2027-01-01T12:00:00Z")]
    pub expires_at: Option<String>,
}

/// A service, or some operations of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The OpenTelemetry `service.name`.
    #[schemars(length(min = 1, max = 253), example = &"service-a")]
    pub service: String,
    /// The operations, each the name that a root span has at its start; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub operations: Vec<String>,
}

/// What decides where a trace starts. Exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// The share of traces that is kept: a percentage from "0%" to "100%", with at most four
    /// digits behind the point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), example = &"1%")]
    pub probability: Option<String>,
    /// At most so many traces are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A rate of the service as a whole, shared out over its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Traces a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub traces_per_second: i64,
}

/// What is kept of the traces whose root span is of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tail {
    /// The reasons to keep a trace; one that matches is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub keep: Vec<KeepRule>,
    /// The share that is kept of the traces that no rule keeps: a percentage of all traces, head
    /// and tail together. Under a `rateLimit` it is a share of what arrived.
    #[schemars(length(max = 16), example = &"10%")]
    pub otherwise: String,
}

/// One reason to keep a trace. Exactly one member beside `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeepRule {
    /// Its name, unique in the policy: traces say by which rule they were kept.
    #[schemars(length(min = 1, max = 63), example = &"errors")]
    pub name: String,
    /// Keeps traces with an error in any span: `error: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorMatch>,
    /// Keeps traces that took longer as a whole, such as `500ms`, `2s` or `1m30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), example = &"500ms")]
    pub slower_than: Option<String>,
    /// Keeps traces with an attribute in any span or its resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeMatch>,
}

/// Matches every error; has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorMatch {}

/// Matches an attribute that has one of some values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeMatch {
    /// The attribute's key.
    #[schemars(length(min = 1, max = 256), example = &"customer.tier")]
    pub key: String,
    /// The values, as text.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}
