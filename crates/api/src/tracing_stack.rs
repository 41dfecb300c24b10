//! `TracingStack`: where the services of a namespace send their traces.

mod collector;
mod jaeger;
pub(crate) mod kubernetes;
mod status;
mod storage;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use collector::{CollectorSpec, ExistingCollector};
pub use jaeger::{ExistingJaeger, JaegerSpec, PrometheusSpec};
pub use kubernetes::{
    Credentials, EnvVar, FreeForm, ImagePullPolicy, PodAdditions, Quantity, Resources, Scheduling,
    TaintEffect, TlsSpec, Toleration, TolerationOperator,
};
pub use status::{StackEndpoints, TailInForce, TracingStackStatus};
pub use storage::{
    BadgerSpec, CassandraSpec, ClickhouseSpec, ElasticsearchSpec, MemorySpec, StorageSpec,
};

use crate::{API_VERSION, Metadata};

/// Jaeger and an OpenTelemetry Collector for the services of a namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingStack {
    /// `spoor.dev/v1alpha1`.
    #[schemars(example = &"spoor.dev/v1alpha1")]
    pub api_version: String,
    /// `TracingStack`.
    #[schemars(example = &"TracingStack")]
    pub kind: String,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: TracingStackSpec,
    /// What became of it; written by the operator, ignored when read from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TracingStackStatus>,
}

impl TracingStack {
    /// What `kind` says.
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

/// What a [`TracingStack`] asks for. Everything has a default: `spec: {}` is a Collector before a
/// Jaeger that holds traces in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingStackSpec {
    /// The way from the services to Jaeger: through the `Collector`, which tail rules need, or
    /// `Direct`. It can be changed while traffic runs.
    #[serde(default)]
    pub route: Route,
    /// The Jaeger that holds the traces and answers for them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub jaeger: JaegerSpec,
    /// The Collector that decides which traces are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub collector: CollectorSpec,
}

/// The way from the services to Jaeger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Route {
    /// Through the Collector.
    #[default]
    Collector,
    /// With no Collector between.
    Direct,
}

impl Route {
    /// The word in the resource.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Collector => "Collector",
            Self::Direct => "Direct",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
