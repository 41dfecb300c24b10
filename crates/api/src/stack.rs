//! A [`TracingStack`](crate::TracingStack) after validation, with all defaults filled in.
//!
//! Valid by construction: [`TracingStack::validate`](crate::TracingStack::validate) is the only way
//! to get a [`Stack`].

mod pod;
mod quantity;
mod storage;
mod text;
mod validate;
mod validate_sampler;
mod validate_storage;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
use spoor_policy::Namespace;

pub use storage::{Backend, Cassandra, ClickHouse, SearchCluster, Storage, Tls};
pub use text::{Address, ExporterName, ObjectName, StackName};

pub use crate::tracing_stack::{
    EnvVar, FreeForm, ImagePullPolicy, PodAdditions, Quantity, Resources, Route, SamplerEngine,
    Scheduling, TaintEffect, Toleration, TolerationOperator,
};

/// Jaeger and a Collector for the services of a namespace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
// Other crates cannot construct these types, so every value has been validated.
pub struct Stack {
    /// The namespace.
    pub namespace: Namespace,
    /// The name, unique in the namespace.
    pub name: StackName,
    /// The route from the services to Jaeger.
    pub route: Route,
    /// The Jaeger that stores the traces.
    pub jaeger: Jaeger,
    /// The Collector, used with [`Route::Collector`].
    pub collector: Collector,
    /// The sampler behind the Collector.
    pub sampler: Sampler,
}

/// The Jaeger of a [`Stack`].
#[derive(Clone, Debug, PartialEq)]
pub enum Jaeger {
    /// A Jaeger that the operator does not run.
    Existing(ExistingJaeger),
    /// A Jaeger to run.
    // Boxed, since it is far larger than the other variant.
    Managed(Box<ManagedJaeger>),
}

/// The addresses of a Jaeger that the operator does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExistingJaeger {
    /// OTLP over gRPC. Its host is a DNS name.
    pub otlp: Address,
    /// UI and query API.
    pub query: Option<Address>,
}

/// A Jaeger to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ManagedJaeger {
    /// The image.
    pub image: String,
    /// The pull policy of the image.
    pub image_pull_policy: ImagePullPolicy,
    /// The storage, with the number of pods.
    pub storage: Storage,
    /// The path of the UI and API: `/` for the root, or one such as `/jaeger`.
    pub base_path: String,
    /// The URL of the Prometheus that Jaeger's Monitor view queries.
    pub prometheus: Option<String>,
    /// Resources, scheduling and additions of its pods.
    pub pod: PodSettings,
}

impl ManagedJaeger {
    /// The default image.
    pub const DEFAULT_IMAGE: &str = "jaegertracing/jaeger:2.13.0";
}

/// The Collector of a [`Stack`].
#[derive(Clone, Debug, PartialEq)]
pub enum Collector {
    /// A Collector that the operator does not run.
    Existing(ExistingCollector),
    /// A Collector to run.
    // Boxed, since it is far larger than the other variant.
    Managed(Box<ManagedCollector>),
}

/// The addresses of a Collector that the operator does not run, for OTLP over gRPC. Their hosts are
/// DNS names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExistingCollector {
    /// The receiver for the spans of services.
    pub otlp: Address,
    /// The receiver for the spans that the sampler keeps. Set if the stack has a sampler.
    pub kept: Option<Address>,
}

/// A Collector to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ManagedCollector {
    /// The image.
    pub image: String,
    /// The pull policy of the image.
    pub image_pull_policy: ImagePullPolicy,
    /// The number of pods that gather spans. The deciding tier is one pod.
    pub replicas: u16,
    /// The time to gather a trace's spans.
    pub gather_wait: Duration,
    /// The time that a gathered trace waits for its decision.
    pub decision_wait: Duration,
    /// Additional exporters with their configuration. The Collector expands `${env:…}` in it.
    pub exporters: BTreeMap<ExporterName, Map<String, Value>>,
    /// Secrets whose keys become environment variables of the Collector's pods, in both tiers.
    pub env_from_secrets: Vec<ObjectName>,
    /// Resources, scheduling and additions of its pods.
    pub pod: PodSettings,
}

impl ManagedCollector {
    /// The default image.
    pub const DEFAULT_IMAGE: &str = "otel/opentelemetry-collector-contrib:0.158.0";
    /// The default of `gatherWait`.
    ///
    /// Not a round number: the Collector loses spans that arrive exactly this long after the first
    /// one of their trace, and timeouts and delays in programs are usually round.
    pub const DEFAULT_GATHER_WAIT: Duration = Duration::from_millis(2_170);
    /// The default of `decisionWait`.
    pub const DEFAULT_DECISION_WAIT: Duration = Duration::from_secs(5);
    /// The limits of `gatherWait`.
    pub(crate) const GATHER_WAIT_LIMITS: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(60));
    /// The limits of `decisionWait`.
    pub(crate) const DECISION_WAIT_LIMITS: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(300));
    /// The most additional exporters.
    pub const MAX_EXPORTERS: usize = 16;
    /// The most entries of `envFromSecrets`.
    pub const MAX_SECRETS: usize = 8;
    /// The most replicas, of the Collector and of Jaeger.
    pub const MAX_REPLICAS: u16 = 16;
}

/// The sampler of a [`Stack`].
#[derive(Clone, Debug, PartialEq)]
pub enum Sampler {
    /// The Collector's own tail sampler. A Collector that the operator does not run then decides by
    /// its own configuration.
    OpenTelemetry,
    /// A sampler of Spoor to run.
    // Boxed, since it is far larger than the other variant.
    Spoor(Box<ManagedSampler>),
}

impl Sampler {
    /// The program that decides.
    #[must_use]
    pub fn engine(&self) -> SamplerEngine {
        match self {
            Self::OpenTelemetry => SamplerEngine::OpenTelemetry,
            Self::Spoor(_) => SamplerEngine::Spoor,
        }
    }
}

/// A sampler of Spoor to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ManagedSampler {
    /// The number of pods.
    pub replicas: u16,
    /// The time from a trace's root span to the decision.
    pub decision_wait: Duration,
    /// The longest time from a trace's first span to the decision.
    pub max_trace_duration: Duration,
    /// The memory for traces that wait for their decision, in bytes.
    pub memory: u64,
    /// The volume.
    pub storage: SamplerStorage,
    /// Resources, scheduling and additions of its pods.
    pub pod: PodSettings,
}

impl ManagedSampler {
    /// The default of `decisionWait`.
    pub const DEFAULT_DECISION_WAIT: Duration = Duration::from_secs(5);
    /// The default of `maxTraceDuration`.
    pub const DEFAULT_MAX_TRACE_DURATION: Duration = Duration::from_secs(30);
    /// The limits of `decisionWait`.
    pub(crate) const DECISION_WAIT_LIMITS: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(600));
    /// The limits of `maxTraceDuration`.
    pub(crate) const MAX_TRACE_DURATION_LIMITS: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(3600));
    /// The default of `memory`.
    pub(crate) const DEFAULT_MEMORY: &str = "256Mi";
    /// The limits of `memory`.
    pub(crate) const MEMORY_LIMITS: [&str; 2] = ["32Mi", "1Ti"];
}

/// The volume of a sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SamplerStorage {
    /// Its size, in bytes.
    pub size: u64,
    /// The claim. If unset, the volume is an emptyDir.
    pub claim: Option<SamplerClaim>,
}

impl SamplerStorage {
    /// The default of `size`.
    pub(crate) const DEFAULT_SIZE: &str = "1Gi";
    /// The limits of `size`.
    pub(crate) const SIZE_LIMITS: [&str; 2] = ["256Mi", "1Ti"];
}

/// The claim for the volume of a sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SamplerClaim {
    /// The StorageClass. If unset, the cluster's default.
    pub storage_class_name: Option<ObjectName>,
}

/// Resources, scheduling and additions of pods.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PodSettings {
    /// Resources as written, without defaults.
    pub resources: Resources,
    /// Constraints on the nodes that pods run on.
    pub scheduling: Scheduling,
    /// Additional metadata, variables and pull secrets.
    pub additions: PodAdditions,
}
