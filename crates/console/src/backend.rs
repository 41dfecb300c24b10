//! The lab or the cluster that a console shows, through one trait.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison, Document},
};
use spoor_policy::{Namespace, PolicyKey};
use spoor_traces::{Search, TraceId, figures::ServiceFigures};
use tokio::sync::watch;

use crate::{lessons::Lessons, traces::ListedTrace};

/// A lab, or a cluster as its user may see and change it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The kind and name of this backend.
    fn source(&self) -> &Source;

    /// A number that changes whenever [`Self::policies`] may return something else.
    fn policy_changes(&self) -> watch::Receiver<u64>;

    /// All policies that the user may see, with their status, sorted by namespace and name.
    async fn policies(&self) -> Result<Vec<SamplingPolicy>, BackendError>;

    /// One policy with its status.
    async fn policy(&self, key: &PolicyKey) -> Result<SamplingPolicy, BackendError>;

    /// Computes what applying a document would change.
    async fn diff(&self, document: Document) -> Result<Comparison, BackendError>;

    /// Applies all policies in a document, or none.
    async fn apply(&self, document: Document) -> Result<Vec<Change>, BackendError>;

    /// Deletes a policy.
    async fn delete(&self, key: &PolicyKey) -> Result<Change, BackendError>;

    /// The names of the services that have spans, sorted.
    async fn services(&self) -> Result<Vec<String>, BackendError>;

    /// The names of a service's operations, sorted.
    async fn operations(&self, service: &str) -> Result<Vec<String>, BackendError>;

    /// The traces that match, the newest first.
    async fn find_traces(&self, search: Search) -> Result<FoundTraces, BackendError>;

    /// All spans of a trace.
    async fn trace(&self, id: TraceId) -> Result<Option<TraceSpans>, BackendError>;

    /// The figures of all services in the time up to now.
    async fn figures(&self, window: Duration) -> Result<ServiceFigures, BackendError>;

    /// The lessons, which only a lab has.
    fn lessons(&self) -> Option<&dyn Lessons> {
        None
    }
}

/// The kind of a backend, and its name in the pages' header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A lab or a cluster.
    pub kind: SourceKind,
    /// The lab's address, or the context of the kubeconfig.
    pub name: String,
    /// The only namespace that is shown; all if unset.
    pub namespace: Option<Namespace>,
}

/// The kind of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A lab, whose policies `spoor` changes.
    Lab,
    /// A Kubernetes cluster, whose policies `kubectl` changes.
    Cluster,
}

/// The result of a search for traces.
#[derive(Clone, Debug, Default)]
pub struct FoundTraces {
    /// The traces, the newest first.
    pub traces: Vec<ListedTrace>,
    /// Matching traces that are too large to be shown.
    pub too_large: Vec<TraceId>,
    /// The number of traces stored, if the backend knows it.
    pub stored: Option<usize>,
}

/// The spans of a trace, and the reason that it was kept.
#[derive(Clone, Debug)]
pub struct TraceSpans {
    /// The trace ID.
    pub id: TraceId,
    /// The spans, in the batches in which they were reported.
    pub resource_spans: Vec<ResourceSpans>,
    /// The policy and rule that kept it, if the backend knows them.
    pub kept: Option<spoor_traces::KeepReason>,
}

/// The error of a request to a backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The policies are invalid: one message for each error.
    #[error("{}", .0.join("\n"))]
    Validate(Vec<String>),
    /// The policy or object does not exist.
    #[error("{0}")]
    Find(String),
    /// The user may not do this, or the backend refuses it. The message has the reason.
    #[error("{0}")]
    Refuse(String),
    /// The policy was changed in the meantime.
    #[error("{0}")]
    Conflict(String),
    /// The backend is busy or cannot be reached. The message says what to do.
    #[error("{0}")]
    Reach(String),
    /// The result is too large to be shown.
    #[error("{0}")]
    TooLarge(String),
}
