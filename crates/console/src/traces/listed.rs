//! A trace in a list of search results.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use spoor_traces::{KeepReason, TraceId, tree::Tree};

use super::routine::is_routine;
use crate::text;

/// The most services named in a result.
const MAX_NAMED_SERVICES: usize = 8;
/// The most characters of an operation's name that are shown.
const MAX_OPERATION_CHARACTERS: usize = 160;

/// The properties of a trace that the list shows, without its spans.
#[derive(Clone, Debug)]
pub struct ListedTrace {
    /// The trace ID.
    pub id: TraceId,
    /// The earliest start, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// From the earliest start to the latest end.
    pub duration: Duration,
    /// The number of spans.
    pub spans: usize,
    /// The number of spans with an error.
    pub errors: usize,
    /// The service of the root span.
    pub service: String,
    /// The root span's name, shortened for display: a name may be as long as a request, and a list
    /// may have hundreds of traces.
    pub operation: String,
    /// The first services, each with its number of spans.
    pub services: Vec<(String, usize)>,
    /// The number of further services.
    pub other_services: usize,
    /// The root is a request for a static file or a health check, and no span has an error.
    pub is_routine: bool,
    /// The policy and rule that kept it, if the backend knows them.
    pub kept: Option<KeepReason>,
}

impl ListedTrace {
    /// Summarizes the spans of a trace.
    #[must_use]
    pub fn new(id: TraceId, resource_spans: Vec<ResourceSpans>, kept: Option<KeepReason>) -> Self {
        let tree = Tree::new(resource_spans);
        let root = tree.root().map(|row| &row.member);
        let operation = root.map_or("", |root| &root.span.name);
        let services = tree.services();
        let named = services.iter().take(MAX_NAMED_SERVICES);
        let named = named.map(|(name, count)| ((*name).to_owned(), *count));
        Self {
            id,
            start: tree.start(),
            duration: tree.duration(),
            spans: tree.rows().len(),
            errors: tree.errors(),
            service: root.map_or_else(String::new, |root| root.service().to_owned()),
            operation: text::cut(display_name(operation), MAX_OPERATION_CHARACTERS),
            services: named.collect(),
            is_routine: tree.errors() == 0 && root.is_some_and(is_routine),
            other_services: services.len().saturating_sub(MAX_NAMED_SERVICES),
            kept,
        }
    }
}

/// The name of an operation, or a placeholder if it is empty.
pub(crate) fn display_name(operation: &str) -> &str {
    match operation {
        "" => "(no name)",
        name => name,
    }
}
