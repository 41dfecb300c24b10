//! What a [`TracingStack`](crate::TracingStack) means, valid by construction and with every
//! default filled in. [`TracingStack::validate`](crate::TracingStack::validate) is the only way
//! to a [`Stack`].

mod pod;
mod quantity;
mod storage;
mod text;
mod validate;
mod validate_storage;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
use spoor_policy::Namespace;

pub use storage::{Backend, Cassandra, ClickHouse, Search, Storage, Tls};
pub use text::{Address, BasePath, ExporterName, InvalidText, ObjectName, StackName};

pub use crate::tracing_stack::{
    EnvVar, FreeForm, ImagePullPolicy, PodAdditions, Quantity, Resources, Route, Scheduling,
    TaintEffect, Toleration, TolerationOperator,
};

/// Jaeger and a Collector for the services of a namespace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stack {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name there.
    pub name: StackName,
    /// The way from the services to Jaeger.
    pub route: Route,
    /// Where traces go.
    pub jaeger: Jaeger,
    /// What decides about them under [`Route::Collector`].
    pub collector: Collector,
}

/// The Jaeger of a [`Stack`].
#[derive(Clone, Debug, PartialEq)]
pub enum Jaeger {
    /// One that runs already.
    Existing(ExistingJaeger),
    /// One to run.
    Managed(Box<ManagedJaeger>),
}

/// Where a Jaeger listens that the operator doesn't run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExistingJaeger {
    /// OTLP over gRPC; its host is a DNS name.
    pub otlp: Address,
    /// Its page and query API.
    pub query: Option<Address>,
}

/// A Jaeger to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ManagedJaeger {
    /// Its image.
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// Where traces are held, and by how many pods.
    pub storage: Storage,
    /// The path of its page and API.
    pub base_path: BasePath,
    /// The URL of the Prometheus that its Monitor view asks.
    pub prometheus: Option<String>,
    /// What its pods may use, and where they run.
    pub pod: PodSettings,
}

impl ManagedJaeger {
    /// The image when none is named.
    pub const DEFAULT_IMAGE: &str = "jaegertracing/jaeger:2.13.0";

    /// How many pods it has.
    #[must_use]
    pub fn replicas(&self) -> u16 {
        self.storage.replicas()
    }
}

/// The Collector of a [`Stack`].
#[derive(Clone, Debug, PartialEq)]
pub enum Collector {
    /// One that runs already and takes OTLP over gRPC here; its host is a DNS name.
    Existing(Address),
    /// One to run.
    Managed(Box<ManagedCollector>),
}

/// A Collector to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ManagedCollector {
    /// Its image.
    pub image: String,
    /// When the image is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// How many pods gather; what decides is one pod.
    pub replicas: u16,
    /// How long a trace's spans are gathered.
    pub gather_wait: Duration,
    /// How long a gathered trace waits for its decision.
    pub decision_wait: Duration,
    /// Exporters beside Jaeger's, with their configuration; `${env:…}` in it is the Collector's.
    pub exporters: BTreeMap<ExporterName, Map<String, Value>>,
    /// Secrets that become environment variables of the pods that export.
    pub env_from_secrets: Vec<ObjectName>,
    /// What its pods may use, and where they run.
    pub pod: PodSettings,
}

impl ManagedCollector {
    /// The image when none is named.
    pub const DEFAULT_IMAGE: &str = "otel/opentelemetry-collector-contrib:0.158.0";
    /// `gatherWait` when none is said.
    ///
    /// No round number: the Collector loses spans that arrive exactly this long after the first
    /// one of their trace, and timeouts and pauses of programs are round numbers.
    pub const DEFAULT_GATHER_WAIT: Duration = Duration::from_millis(2_170);
    /// `decisionWait` when none is said.
    pub const DEFAULT_DECISION_WAIT: Duration = Duration::from_secs(5);
    /// What `gatherWait` may be.
    pub(crate) const GATHER_WAIT: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(60));
    /// What `decisionWait` may be.
    pub(crate) const DECISION_WAIT: (Duration, Duration) =
        (Duration::from_millis(100), Duration::from_secs(300));
    /// The most exporters.
    pub const MAX_EXPORTERS: usize = 16;
    /// The most Secrets.
    pub const MAX_SECRETS: usize = 8;
    /// The most pods of one kind, here and of Jaeger.
    pub const MAX_REPLICAS: u16 = 16;
}

/// What pods may use, and where they run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PodSettings {
    /// As it is written: what is left out has no default yet.
    pub resources: Resources,
    /// On which nodes they run.
    pub scheduling: Scheduling,
    /// What is added to them.
    pub additions: PodAdditions,
}
