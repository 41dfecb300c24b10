//! One trace in Jaeger: its spans, and the calls between services.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    edge,
    jaeger::base_path,
    lab::{Lab, STACK},
};
use crate::apiserver::eventually;

/// Longer than a trace takes to pass through the Collector.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(45);

/// A trace.
#[derive(Debug)]
pub struct Tree(BTreeMap<String, Span>);

/// One of its spans.
#[derive(Debug)]
pub struct Span {
    pub service: String,
    pub operation: String,
    pub kind: String,
    pub parent: Option<String>,
    /// Microseconds.
    pub start: u64,
    pub end: u64,
    tags: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct QueryResponse {
    data: Vec<FoundTrace>,
}

#[derive(Deserialize)]
struct FoundTrace {
    spans: Vec<FoundSpan>,
    processes: BTreeMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundSpan {
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(rename = "processID")]
    process_id: String,
    #[serde(default)]
    references: Vec<Reference>,
    start_time: u64,
    duration: u64,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

/// Reads the trace with this ID once it is complete and has spans of all these services.
pub async fn of(lab: &Lab, id: &str, services: &[&str]) -> Tree {
    eventually("the complete trace", ARRIVAL_TIMEOUT, || async {
        let tree = find(lab, id).await.ok_or(format!("{id}: none"))?;
        let missing: Vec<_> = services
            .iter()
            .filter(|service| !tree.services().contains(*service))
            .collect();
        match tree.root() {
            Err(reason) => Err(format!("{id}: {reason}")),
            Ok(_) if missing.is_empty() => Ok(tree),
            Ok(_) => Err(format!("{id}: nothing of {missing:?} in {tree:?}")),
        }
    })
    .await
}

/// Reads the trace with this ID, which may be incomplete.
pub async fn find(lab: &Lab, id: &str) -> Option<Tree> {
    let path = format!("{}/api/traces/{id}", base_path(lab).await);
    let response = edge::get(lab, &format!("{STACK}-query:16686"), &path).await;
    if !response.status.is_success() {
        return None;
    }
    let response: QueryResponse = serde_json::from_str(&response.text).unwrap();
    let FoundTrace { spans, processes } = response.data.into_iter().next()?;
    let span = |found: FoundSpan| {
        let tags: BTreeMap<_, _> = found
            .tags
            .into_iter()
            .map(|it| (it.key, it.value))
            .collect();
        let is_parent = |reference: &&Reference| reference.ref_type == "CHILD_OF";
        let span = Span {
            service: processes[&found.process_id].service_name.clone(),
            operation: found.operation_name,
            kind: tags
                .get("span.kind")
                .and_then(Value::as_str)
                .unwrap_or("internal")
                .to_owned(),
            parent: found
                .references
                .iter()
                .find(is_parent)
                .map(|reference| reference.span_id.clone()),
            start: found.start_time,
            end: found.start_time + found.duration,
            tags,
        };
        (found.span_id, span)
    };
    Some(Tree(spans.into_iter().map(span).collect()))
}

impl Tree {
    /// The one span without a parent, if the parent of every other span is in the trace.
    pub fn root(&self) -> Result<&Span, String> {
        let lost = |span: &&Span| {
            let parent = span.parent.as_ref();
            parent.is_some_and(|parent| !self.0.contains_key(parent))
        };
        if let Some(orphan) = self.0.values().find(lost) {
            return Err(format!("the parent of {orphan:?} is missing"));
        }
        let mut roots = self.0.values().filter(|span| span.parent.is_none());
        match (roots.next(), roots.next()) {
            (Some(root), None) => Ok(root),
            _ => Err(format!("several roots, or none: {self:?}")),
        }
    }

    /// Asserts the service and operation of the root.
    pub fn assert_starts_at(&self, service: &str, operation: &str) {
        let root = self.root().unwrap();
        let start = (root.service.as_str(), root.operation.as_str());
        assert_eq!(start, (service, operation), "{self:?}");
    }

    /// The services in the trace.
    pub fn services(&self) -> BTreeSet<&str> {
        self.0.values().map(|span| span.service.as_str()).collect()
    }

    /// The server span of a call from one service to another.
    pub fn call(&self, from: &str, to: &str) -> &Span {
        self.call_of(from, to, "")
    }

    /// The server span of a call to an operation whose name ends with `operation`.
    pub fn call_of(&self, from: &str, to: &str, operation: &str) -> &Span {
        let call = self.0.values().find(|span| {
            let parent = self.parent(span);
            let is_server_span = span.service == to && span.kind == "server";
            let is_call = parent.is_some_and(|it| it.service == from && it.kind == "client");
            is_server_span && is_call && span.operation.ends_with(operation)
        });
        call.unwrap_or_else(|| panic!("{from} has not called {to}: {self:?}"))
    }

    /// The parent of a span; `None` for the root.
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        span.parent.as_ref().map(|parent| &self.0[parent])
    }

    /// A statement that a service sent to a database of this kind.
    pub fn statement(&self, service: &str, system: &str) -> &Span {
        let found = self.0.values().find(|span| {
            let parent = self.parent(span);
            span.service == service
                && span
                    .tags
                    .get("db.system.name")
                    .is_some_and(|it| it == system)
                && parent.is_some_and(|parent| parent.service == service)
        });
        found.unwrap_or_else(|| panic!("{service} has sent no statement to {system}: {self:?}"))
    }
}

impl Span {
    /// Returns true if both were under way at the same moment.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}
