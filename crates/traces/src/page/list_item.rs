//! A trace in a list of search results.

use std::time::Duration;

use crate::{KeepReason, StoredTrace, TraceId, tree::Tree};

/// The properties of a trace that the list shows.
#[derive(Clone, Debug)]
pub struct ListItem {
    pub id: TraceId,
    pub start: u64,
    pub duration: Duration,
    pub spans: usize,
    pub errors: usize,
    pub service: String,
    pub operation: String,
    pub services: Vec<(String, usize)>,
    pub kept: KeepReason,
}

impl ListItem {
    pub fn new(trace: &StoredTrace) -> Self {
        let tree = Tree::new(trace.decode());
        let root = tree.root().map(|row| &row.member);
        let owned = |(name, count): (&str, usize)| (name.to_owned(), count);
        Self {
            id: trace.id,
            start: tree.start(),
            duration: tree.duration(),
            spans: tree.rows().len(),
            errors: tree.errors(),
            service: root.map_or_else(String::new, |root| root.service().to_owned()),
            operation: root.map_or_else(String::new, |root| root.span.name.clone()),
            services: tree.services().into_iter().map(owned).collect(),
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
