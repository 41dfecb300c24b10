//! A trace in a list of search results.

use std::time::Duration;

use super::text;
use crate::{KeepReason, StoredTrace, TraceId, tree::Tree};

/// The most services named in a result.
const MAX_NAMED_SERVICES: usize = 8;
/// The most characters of an operation's name that are shown.
const MAX_OPERATION_CHARACTERS: usize = 160;

/// The properties of a trace that the list shows.
#[derive(Clone, Debug)]
pub struct ListItem {
    pub id: TraceId,
    pub start: u64,
    pub duration: Duration,
    pub spans: usize,
    pub errors: usize,
    pub service: String,
    /// The operation, shortened for display: a name may be as long as a request, and a list may
    /// have hundreds of traces.
    pub operation: String,
    /// The first services, each with its number of spans.
    pub services: Vec<(String, usize)>,
    /// The number of further services.
    pub other_services: usize,
    pub kept: KeepReason,
}

impl ListItem {
    pub fn new(trace: &StoredTrace) -> Self {
        let tree = Tree::new(trace.decode());
        let root = tree.root().map(|row| &row.member);
        let operation = root.map_or("", |root| &root.span.name);
        let services = tree.services();
        let named = services.iter().take(MAX_NAMED_SERVICES);
        let named = named.map(|(name, count)| ((*name).to_owned(), *count));
        Self {
            id: trace.id,
            start: tree.start(),
            duration: tree.duration(),
            spans: tree.rows().len(),
            errors: tree.errors(),
            service: root.map_or_else(String::new, |root| root.service().to_owned()),
            operation: text::cut(display_name(operation), MAX_OPERATION_CHARACTERS),
            services: named.collect(),
            other_services: services.len().saturating_sub(MAX_NAMED_SERVICES),
            kept: trace.kept.clone(),
        }
    }
}

/// The name of an operation, or a placeholder if it is empty.
pub fn display_name(operation: &str) -> &str {
    match operation {
        "" => "(no name)",
        name => name,
    }
}
