//! Spans for tests.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status::StatusCode},
};

const MS: u64 = 1_000_000;

/// A batch with one span. ID and parent are one repeated byte (0: no parent), start and end are in
/// milliseconds, and the trace is always the same.
pub(crate) fn span(
    service: &str,
    name: &str,
    id: u8,
    parent: u8,
    start: u64,
    end: u64,
) -> ResourceSpans {
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { vec![] } else { vec![parent; 8] },
        name: name.to_owned(),
        start_time_unix_nano: start * MS,
        end_time_unix_nano: end * MS,
        ..Span::default()
    };
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// The batch, with errors as the status of its spans.
pub(crate) fn red(mut batch: ResourceSpans) -> ResourceSpans {
    for span in batch.scope_spans.iter_mut().flat_map(|it| &mut it.spans) {
        span.status = Some(Status {
            code: StatusCode::Error.into(),
            message: String::new(),
        });
    }
    batch
}

/// A string attribute.
pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}
