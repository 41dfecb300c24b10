//! The criteria of a search.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

/// A search for traces with at least one span that matches every criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The span's `service.name`.
    pub service: Option<String>,
    /// The span's name.
    pub operation: Option<String>,
    /// Attributes of the span, its events or its resource, with the value as text. As in Jaeger,
    /// `error=true` matches the status error, `span.kind=server` the kind, and `otel.status_code`,
    /// `otel.scope.name` and `otel.scope.version` the status and the scope.
    pub tags: Vec<(String, String)>,
    /// The span's earliest start, in nanoseconds since 1970.
    pub start_min: Option<u64>,
    /// The span's latest start, in nanoseconds since 1970.
    pub start_max: Option<u64>,
    /// The span's shortest duration.
    pub duration_min: Option<Duration>,
    /// The span's longest duration.
    pub duration_max: Option<Duration>,
    /// The most traces to return, the newest first.
    pub limit: usize,
}

impl Default for Search {
    /// The newest 20 traces, as in Jaeger.
    fn default() -> Self {
        Self {
            service: None,
            operation: None,
            tags: Vec::new(),
            start_min: None,
            start_max: None,
            duration_min: None,
            duration_max: None,
            limit: 20,
        }
    }
}

/// A name and kind of the spans of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredOperation {
    /// The span's name.
    pub name: String,
    /// The span's kind.
    pub kind: SpanKind,
}
