//! The sampler of a stack, which decides on complete traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PodAdditions, Quantity, Resources, Scheduling};

/// The program that decides on complete traces, and its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// No field has a default in the schema: the API server would write it next to `engine`.
pub struct SamplerSpec {
    /// Program that decides. `Spoor`, the default, is a sampler between two pipelines of the
    /// Collector, whose rules change without a restart. `OpenTelemetry` is the Collector's own tail
    /// sampler in a second tier of Collectors; no other field of `sampler` may be set with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<SamplerEngine>,
    /// Number of samplers, which divide the traces among themselves. A change takes at least ten
    /// minutes, in which the former owners of traces finish them, and longer if a sampler is not
    /// running. Defaults to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: Option<i32>,
    /// Time from a trace's root span to the decision, from `100ms` to `10m`. SDKs export spans every
    /// 5 s by default. At most `maxTraceDuration`. Defaults to `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"5s")]
    pub decision_wait: Option<String>,
    /// Maximum time from a trace's first span to the decision, whether or not its root span has
    /// arrived, from `100ms` to `1h`. Defaults to `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"30s")]
    pub max_trace_duration: Option<String>,
    /// Memory for traces that wait for their decision, from `32Mi` to `1Ti`. If it is full, the
    /// oldest traces are decided early. The default memory limit of the pod is twice this amount
    /// plus 256 MiB. Defaults to `256Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Volume for spans that have been accepted but not yet sent, and for the rules in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<SamplerStorageSpec>,
    /// Resource requests and limits of a pod. If neither is set for CPU, a default request applies;
    /// if neither is set for memory, a default request and limit apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Constraints on the nodes that pods run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Additional annotations, labels, environment variables and pull secrets of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodAdditions>,
}

/// The program that decides on complete traces.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    derive_more::Display,
)]
pub enum SamplerEngine {
    /// Spoor's sampler.
    #[default]
    Spoor,
    /// The tail sampler of the OpenTelemetry Collector.
    OpenTelemetry,
}

impl SamplerEngine {
    /// The engine that is not this one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Spoor => Self::OpenTelemetry,
            Self::OpenTelemetry => Self::Spoor,
        }
    }
}

/// The volume of a sampler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplerStorageSpec {
    /// Size of the volume, from `256Mi` to `1Ti`. While four fifths of it are in use, spans are
    /// refused, and their senders hold them. Defaults to `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Claim for a volume that outlives the pod. If unset, the volume is an emptyDir, which outlives
    /// the container only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<SamplerClaimSpec>,
}

/// A claim for a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplerClaimSpec {
    /// StorageClass of the volume. Defaults to the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"standard")]
    pub storage_class_name: Option<String>,
}
