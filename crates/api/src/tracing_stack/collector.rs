//! The Collector of a stack.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FreeForm, ImagePullPolicy, PodAdditions, Resources, Scheduling};

/// A Collector to run, or with `existing` alone, one that runs already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorSpec {
    /// A Collector that runs already, in the place of everything else here. Tail rules are then
    /// its own affair: policies that have some say `Programmed=False`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingCollector>,
    /// The image of the Collector, contrib distribution; none: the one that this version of the
    /// operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        example = &"otel/opentelemetry-collector-contrib:0.158.0"
    )]
    pub image: Option<String>,
    /// When the image is pulled; none: `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// How many pods take spans and gather them to whole traces; none: 1. What decides about whole
    /// traces is always one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: Option<i32>,
    /// How long a trace's spans are gathered from its first on; spans that come later are decided
    /// on their own. Spans that come at that very moment may be lost, so it should be no time that
    /// programs wait or pause for. At most `decisionWait`. None: `2s170ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"3s130ms")]
    pub gather_wait: Option<String>,
    /// How long a gathered trace waits for its decision, for spans that came over another pod.
    /// None: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"5s")]
    pub decision_wait: Option<String>,
    /// Further exporters beside Jaeger's, each a name as the Collector has it (`type` or
    /// `type/name`) with its configuration. A name that begins with `spoor` behind the slash is
    /// the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub exporters: BTreeMap<String, FreeForm>,
    /// Secrets whose keys are environment variables of the pods that export, so that an exporter
    /// can say `${env:KEY}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub env_from_secrets: Vec<String>,
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

/// Where a Collector listens that the operator doesn't run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExistingCollector {
    /// Host and port that take OTLP over gRPC, without TLS.
    #[schemars(length(min = 1, max = 260), example = &"collector.observability.svc:4317")]
    pub otlp: String,
}
