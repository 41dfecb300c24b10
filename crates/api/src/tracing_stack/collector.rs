//! The Collector of a stack.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FreeForm, ImagePullPolicy, PodAdditions, Resources, Scheduling};

/// A Collector for the operator to run, or an existing one if only `existing` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
// No field has a default in the schema: the API server would write it next to `existing`.
pub struct CollectorSpec {
    /// Existing Collector to use instead of one that the operator runs. No other field may be set.
    /// Tail rules apply only with `existing.kept`; without it, policies with tail rules have the
    /// condition `Programmed=False`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingCollectorSpec>,
    /// Image of the Collector's contrib distribution. Defaults to the one that this version of the
    /// operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        example = &"otel/opentelemetry-collector-contrib:0.158.0"
    )]
    pub image: Option<String>,
    /// Pull policy of the image. Defaults to `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Number of pods that receive spans. Defaults to 1. With `sampler.engine: OpenTelemetry` these
    /// pods also gather spans into traces, and one more pod decides which traces to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: Option<i32>,
    /// Requires `sampler.engine: OpenTelemetry`. Time to gather the spans of a trace, from its first
    /// span on. Later spans are forwarded separately, and affect the decision only if they arrive
    /// before it. Spans that arrive at exactly this time may be lost, so avoid durations that
    /// programs use as timeouts or delays. At most `decisionWait`. Defaults to `2s170ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"3s130ms")]
    pub gather_wait: Option<String>,
    /// Requires `sampler.engine: OpenTelemetry`. Time that a gathered trace waits for its decision,
    /// so that spans forwarded later, or by another pod, are considered. Defaults to `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"5s")]
    pub decision_wait: Option<String>,
    /// Additional exporters, by name in the Collector's format (`type` or `type/name`), each with
    /// its configuration. Names that begin with `spoor` after the slash are reserved for the
    /// operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub exporters: BTreeMap<String, FreeForm>,
    /// Secrets whose keys become environment variables of the Collector's pods. An exporter
    /// refers to one as `${env:KEY}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub env_from_secrets: Vec<String>,
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

/// The addresses of a Collector that the operator does not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExistingCollectorSpec {
    /// Host and port for OTLP over gRPC, without TLS.
    #[schemars(length(min = 1, max = 260), example = &"collector.observability.svc:4317")]
    pub otlp: String,
    /// Host and port of a second receiver for OTLP over gRPC, without TLS. If set, the operator runs
    /// a sampler behind the Collector, which has to send what `otlp` receives to the Service
    /// `NAME-sampler`. The sampler returns the spans that it keeps to `kept`. `docs/tail-rules.md`
    /// has the configuration of the Collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 260), example = &"collector.observability.svc:4319")]
    pub kept: Option<String>,
}
