//! Traces for tests.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};

/// A trace of two spans of the service `shop`, of which the second has an error if `fails`.
pub fn trace(number: u64, fails: bool) -> ExportTraceServiceRequest {
    request(spans(number, fails).into())
}

fn spans(number: u64, fails: bool) -> [Span; 2] {
    let root = span(number, 1, None);
    let mut child = span(number, 2, Some(1));
    if fails {
        child.status = Some(Status {
            code: 2,
            ..Status::default()
        });
    }
    [root, child]
}

/// The spans of [`trace`], each in a request of its own.
pub fn spans_of_trace(number: u64, fails: bool) -> [ExportTraceServiceRequest; 2] {
    let [root, child] = spans(number, fails);
    [request(vec![root]), request(vec![child])]
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = vec![
        text("service.name", "shop"),
        text("service.namespace", "default"),
    ];
    let resource = Resource {
        attributes,
        ..Resource::default()
    };
    let scope_spans = ScopeSpans {
        spans,
        ..ScopeSpans::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
}

fn span(trace: u64, id: u64, parent: Option<u64>) -> Span {
    const START: u64 = 1_700_000_000_000_000_000;
    Span {
        trace_id: trace_id(trace),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent
            .map(|id| id.to_be_bytes().to_vec())
            .unwrap_or_default(),
        name: "GET /".to_owned(),
        start_time_unix_nano: START,
        end_time_unix_nano: START + 1_000_000,
        ..Span::default()
    }
}

/// A trace ID that ends in this number.
pub fn trace_id(number: u64) -> Vec<u8> {
    let [high, low] = [0x5b8e_fff7_9803_8103_u64, number];
    [high.to_be_bytes(), low.to_be_bytes()].concat()
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// The value of `tailsampling.policy`, if the span has it.
pub fn policy(span: &Span) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let attribute = attributes.find(|it| it.key == "tailsampling.policy")?;
    match attribute.value.clone()?.value? {
        Value::StringValue(policy) => Some(policy),
        _ => None,
    }
}
