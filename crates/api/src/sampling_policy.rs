//! The resource `SamplingPolicy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{API_VERSION, Metadata, SamplingPolicyStatus, status::Condition};

/// Selects which traces of which services are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingPolicy {
    /// `spoor.dev/v1alpha1`.
    #[schemars(example = &"spoor.dev/v1alpha1")]
    pub api_version: String,
    /// `SamplingPolicy`.
    #[schemars(example = &"SamplingPolicy")]
    pub kind: String,
    /// Name and namespace of the policy.
    pub metadata: Metadata,
    /// Desired sampling.
    pub spec: SamplingPolicySpec,
    /// Observed state. Written by Spoor, and ignored when read from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SamplingPolicyStatus>,
}

impl SamplingPolicy {
    /// The `kind` of this resource.
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

    /// The condition of this type, if the policy has a status.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        let mut conditions = self.status.as_ref()?.conditions.iter();
        conditions.find(|it| it.kind == kind)
    }
}

/// The desired sampling of a [`SamplingPolicy`]: `head`, `tail` or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// The limits in these attributes repeat those of `spoor_policy`, since attributes take only
// literals. A test compares them.
pub struct SamplingPolicySpec {
    /// Priority among equally specific policies. The highest wins.
    #[serde(default)]
    pub priority: i32,
    /// Services that the policy applies to. If empty, all services of the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    // A map by service, so that server-side apply merges targets, and the API server refuses
    // duplicates.
    pub targets: Vec<TargetSpec>,
    /// Sampling at the start of a trace. Exactly one field must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Sampling of complete traces. Requires a Collector, or the lab's own pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// Time at which the policy expires, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), example = &"2027-01-01T12:00:00Z")]
    pub expires_at: Option<String>,
}

/// A service, or some operations of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// The OpenTelemetry `service.name`.
    #[schemars(length(min = 1, max = 253), example = &"service-a")]
    pub service: String,
    /// Operations, each the name of a root span at its start. If empty, all operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub operations: Vec<String>,
}

/// Sampling at the start of a trace. Exactly one field must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// Share of traces to keep: a percentage from "0%" to "100%" with at most four decimal
    /// places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), example = &"1%")]
    // A text, since a number would be a binary fraction, and 1 could mean 1 % or 100 %.
    pub probability: Option<String>,
    /// Maximum rate of traces to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitSpec>,
}

/// A rate for the whole service, which its instances share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitSpec {
    /// Traces per second.
    #[schemars(range(min = 1, max = 1_000_000))]
    // Wider than the range, so that validation and not serde reports a number out of it.
    pub traces_per_second: i64,
}

/// Sampling of complete traces whose root span belongs to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tail {
    /// Rules to keep a trace. A trace that matches any of them is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub keep: Vec<KeepRule>,
    /// Share to keep of the traces that match no rule, as a percentage of all traces started: head
    /// and tail sampling together. With a `rateLimit`, a percentage of the traces received.
    #[schemars(length(max = 16), example = &"10%")]
    pub otherwise: String,
}

/// A rule to keep a trace. Exactly one field besides `name` must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeepRule {
    /// Name of the rule, unique in the policy. In the lab, a kept trace records the name of its rule.
    #[schemars(length(min = 1, max = 63), example = &"errors")]
    pub name: String,
    /// Keep traces with an error in any span: `error: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorMatch>,
    /// Keep traces that take longer than this in total, such as `500ms`, `2s` or `1m30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), example = &"500ms")]
    pub slower_than: Option<String>,
    /// Keep traces with an attribute on any span or its resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeMatch>,
}

impl KeepRule {
    /// The fields of which exactly one must be set.
    pub const CONDITIONS: [&str; 3] = ["error", "slowerThan", "attribute"];
}

/// Matches every error. Has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorMatch {}

/// Matches an attribute with one of the given values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeMatch {
    /// Key of the attribute.
    #[schemars(length(min = 1, max = 256), example = &"customer.tier")]
    pub key: String,
    /// Values that match, as text.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}
