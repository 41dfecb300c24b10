//! The resource `TracingStack`.

mod collector;
mod jaeger;
pub(crate) mod kubernetes;
mod sampler;
mod status;
mod storage;

use derive_more::Display;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use collector::{CollectorSpec, ExistingCollectorSpec};
pub use jaeger::{ExistingJaegerSpec, JaegerSpec, PrometheusSpec};
pub use kubernetes::{
    CredentialsSpec, EnvVar, FreeForm, ImagePullPolicy, PodAdditions, Quantity, Resources,
    Scheduling, TaintEffect, TlsSpec, Toleration, TolerationOperator,
};
pub use sampler::{SamplerClaimSpec, SamplerEngine, SamplerSpec, SamplerStorageSpec};
pub use status::{SamplerRings, SamplerStatus, StackEndpoints, TailInForce, TracingStackStatus};
pub use storage::{
    BadgerSpec, CassandraSpec, ClickhouseSpec, ElasticsearchSpec, MemorySpec, StorageSpec,
};

use crate::{API_VERSION, Metadata};

/// Jaeger, an OpenTelemetry Collector and a sampler for the services of a namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingStack {
    /// `spoor.dev/v1alpha1`.
    #[schemars(example = &"spoor.dev/v1alpha1")]
    pub api_version: String,
    /// `TracingStack`.
    #[schemars(example = &"TracingStack")]
    pub kind: String,
    /// Name and namespace of the stack.
    pub metadata: Metadata,
    /// Desired stack.
    pub spec: TracingStackSpec,
    /// Observed state. Written by the operator, and ignored when read from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TracingStackStatus>,
}

impl TracingStack {
    /// The `kind` of this resource.
    pub const KIND: &str = "TracingStack";

    /// A stack without status.
    #[must_use]
    pub fn new(metadata: Metadata, spec: TracingStackSpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: Self::KIND.to_owned(),
            metadata,
            spec,
            status: None,
        }
    }
}

/// The desired state of a [`TracingStack`]. Everything has a default: `spec: {}` is a Collector
/// with a sampler, in front of a Jaeger with in-memory storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingStackSpec {
    /// Route from the services to Jaeger: through the `Collector`, which tail rules require, or
    /// `Direct`. It can be changed while services send spans.
    #[serde(default)]
    pub route: Route,
    /// Jaeger, which stores traces and serves queries.
    #[serde(default, skip_serializing_if = "is_default")]
    pub jaeger: JaegerSpec,
    /// Collector, which receives spans and exports the traces that are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub collector: CollectorSpec,
    /// Sampler, which applies tail rules.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sampler: SamplerSpec,
}

/// The route from the services to Jaeger.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Display,
)]
pub enum Route {
    /// Through the Collector.
    #[default]
    Collector,
    /// Without a Collector.
    Direct,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
