//! The Jaeger of a stack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImagePullPolicy, PodAdditions, Resources, Scheduling, StorageSpec};

/// A Jaeger to run, or with `existing` alone, one that runs already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JaegerSpec {
    /// A Jaeger that runs already, in the place of everything else here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingJaeger>,
    /// The image of Jaeger v2; none: the one that this version of the operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), example = &"jaegertracing/jaeger:2.13.0")]
    pub image: Option<String>,
    /// When the image is pulled; none: `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Where traces are held: exactly one member. None: `memory: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// How many pods; none: 1. More than one needs storage outside of them: opensearch,
    /// elasticsearch, cassandra or clickhouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: Option<i32>,
    /// The path under which Jaeger's page and API are served, such as `/jaeger`; none: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), example = &"/jaeger")]
    pub base_path: Option<String>,
    /// Where Jaeger's Monitor view finds the metrics of spans; none: there is no Monitor view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusSpec>,
    /// What a pod may use of the node; each quantity that is left out has a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// On which nodes pods may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// Additions to the pods: annotations, labels, environment variables, pull secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodAdditions>,
}

/// A Prometheus that scrapes the stack's `status.endpoints.prometheus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// Its address.
    #[schemars(length(min = 1, max = 512), example = &"http://prometheus.monitoring.svc:9090")]
    pub url: String,
}

/// Where a Jaeger listens that the operator doesn't run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExistingJaeger {
    /// Host and port that take OTLP over gRPC, without TLS.
    #[schemars(length(min = 1, max = 260), example = &"jaeger.observability.svc:4317")]
    pub otlp: String,
    /// Host and port of its page and query API over HTTP, for the status to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 260), example = &"jaeger.observability.svc:16686")]
    pub query: Option<String>,
}
