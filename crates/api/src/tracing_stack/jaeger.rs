//! The Jaeger of a stack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImagePullPolicy, PodAdditions, Resources, Scheduling, StorageSpec};

/// A Jaeger for the operator to run, or an existing one if only `existing` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// No field has a default in the schema: the API server would write it next to `existing`.
pub struct JaegerSpec {
    /// Existing Jaeger to use instead of one that the operator runs. No other field may be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingJaegerSpec>,
    /// Image of Jaeger v2. Defaults to the one that this version of the operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), example = &"jaegertracing/jaeger:2.13.0")]
    pub image: Option<String>,
    /// Pull policy of the image. Defaults to `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Storage of traces. Exactly one field must be set. Defaults to `memory: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Number of pods. Defaults to 1. More than one requires external storage: opensearch,
    /// elasticsearch, cassandra or clickhouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: Option<i32>,
    /// Path of Jaeger's UI and API, such as `/jaeger`. Defaults to `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), example = &"/jaeger")]
    pub base_path: Option<String>,
    /// Prometheus with span metrics for Jaeger's Monitor view. If unset, there is no Monitor view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
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

/// A Prometheus that scrapes the stack's `status.endpoints.prometheus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// URL of Prometheus.
    #[schemars(length(min = 1, max = 512), example = &"http://prometheus.monitoring.svc:9090")]
    pub url: String,
}

/// The addresses of a Jaeger that the operator does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExistingJaegerSpec {
    /// Host and port for OTLP over gRPC, without TLS.
    #[schemars(length(min = 1, max = 260), example = &"jaeger.observability.svc:4317")]
    pub otlp: String,
    /// Host and port of Jaeger's UI and query API over HTTP, shown in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 260), example = &"jaeger.observability.svc:16686")]
    pub query: Option<String>,
}
