//! What became of a stack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Route;
use crate::status::Condition;

/// The status of a [`TracingStack`](crate::TracingStack).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingStackStatus {
    /// `Available`, `Progressing` and `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that the operator last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the stack listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<StackEndpoints>,
    /// The way that traffic takes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Where traces are held: `Memory`, `Badger`, `OpenSearch`, `Elasticsearch`, `Cassandra`,
    /// `ClickHouse`, or `Existing` for a Jaeger that the operator doesn't run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub storage: Option<String>,
    /// The tail rules that the Collector has in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<TailInForce>,
}

/// Where a stack listens, as host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StackEndpoints {
    /// OTLP over gRPC, the same whatever the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub otlp: Option<String>,
    /// Jaeger's page and query API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub query: Option<String>,
    /// Remote sampling as Jaeger serves it, over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub sampling: Option<String>,
    /// Metrics of spans, for Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prometheus: Option<String>,
}

/// Tail rules that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TailInForce {
    /// Names the rules of the namespace as a whole.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// How many policies they come from.
    pub policies: u32,
}
