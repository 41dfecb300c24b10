//! The status of a stack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Route, SamplerEngine};
use crate::status::Condition;

/// The status of a [`TracingStack`](crate::TracingStack).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingStackStatus {
    /// `Available`, `Progressing` and `Degraded`. `Contested` is added while another operator tries to
    /// claim the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that the operator last processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Addresses of the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<StackEndpoints>,
    /// Current route from the services to Jaeger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Storage of traces: `Memory`, `Badger`, `OpenSearch`, `Elasticsearch`, `Cassandra`,
    /// `ClickHouse`, or `Existing` for a Jaeger that the operator does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,
    /// Tail rules that the Collector applies, with `sampler.engine: OpenTelemetry` or while the
    /// engine changes. With Spoor's samplers, the status of each policy reports which of them have
    /// not acknowledged its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<TailInForce>,
    /// Spoor's samplers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<SamplerStatus>,
}

/// The addresses of a stack, as host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackEndpoints {
    /// OTLP over gRPC. The same for both routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub otlp: Option<String>,
    /// Jaeger's UI and query API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub query: Option<String>,
    /// Jaeger remote sampling over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub sampling: Option<String>,
    /// Span metrics, for Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prometheus: Option<String>,
}

/// The tail rules that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TailInForce {
    /// Digest of all tail rules of the namespace.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// Number of policies with these rules.
    pub policies: u32,
}

/// The samplers of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SamplerStatus {
    /// Program that decides.
    pub engine: SamplerEngine,
    /// Number of samplers that should run. More than `spec.sampler.replicas` while some of them
    /// still have traces.
    pub replicas: u32,
    /// Number of samplers that are ready.
    pub ready_replicas: u32,
    /// Rings by which the samplers divide the traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rings: Option<SamplerRings>,
}

/// The rings by which samplers divide the traces. A ring has the samplers with the ordinals below a
/// number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SamplerRings {
    /// Number of this list of rings. Later lists have greater numbers.
    pub generation: u64,
    /// Number of samplers in each ring, the oldest first and the current one last. The members of
    /// former rings may still have traces.
    #[schemars(length(max = 64))]
    pub members: Vec<u32>,
}

impl SamplerRings {
    /// The most members of a ring that samplers accept.
    pub const MAX_MEMBERS: u32 = 64;
}
