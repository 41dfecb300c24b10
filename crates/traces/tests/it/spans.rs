//! Traces for tests.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link, SpanKind},
    },
};
use prost::Message;
use spoor_traces::{KeepReason, TraceStore};

/// A millisecond in nanoseconds, the unit of OTLP.
pub const MS: u64 = 1_000_000;

/// An attribute.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// A string attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A trace ID that ends in this number.
pub fn trace_id(number: u64) -> Vec<u8> {
    let [high, low] = [0x5b8e_fff7_9803_8103_u64, number];
    [high.to_be_bytes(), low.to_be_bytes()].concat()
}

/// A span of a trace. A `parent` of 0 means none; times are in milliseconds.
pub fn span(trace: u64, id: u64, parent: u64, name: &str, start: u64, end: u64) -> Span {
    Span {
        trace_id: trace_id(trace),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: match parent {
            0 => Vec::new(),
            parent => parent.to_be_bytes().to_vec(),
        },
        name: name.to_owned(),
        kind: SpanKind::Internal as i32,
        start_time_unix_nano: start * MS,
        end_time_unix_nano: end * MS,
        status: Some(Status::default()),
        ..Span::default()
    }
}

/// Spans of one service.
pub fn batch(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                text("service.name", service),
                text("service.namespace", "demo"),
                text("service.instance.id", "6f1c"),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "spoor-telemetry".to_owned(),
                version: "0.1.0".to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// Stores batches.
pub fn insert(store: &TraceStore, batches: Vec<ResourceSpans>) {
    insert_kept(store, batches, &KeepReason::NoPolicy);
}

/// Stores batches with a reason.
pub fn insert_kept(store: &TraceStore, resource_spans: Vec<ResourceSpans>, kept: &KeepReason) {
    let request = ExportTraceServiceRequest { resource_spans };
    store.accept(&request.encode_to_vec(), kept).unwrap();
}

/// A request through two services: service-b waits, calculates, and fails if `fails`.
pub fn a_to_b(trace: u64, start: u64, wait: u64, fails: bool) -> Vec<ResourceSpans> {
    let id = trace * 16;
    let end = start + wait + 190;
    let kind = |mut span: Span, kind: SpanKind| {
        span.kind = kind as i32;
        if fails && kind != SpanKind::Internal {
            span.status = Some(Status {
                message: "the calculation failed".to_owned(),
                code: 2,
            });
        }
        span
    };
    let mut edge = kind(
        span(trace, id + 1, 0, "GET /", start, end),
        SpanKind::Server,
    );
    edge.attributes = vec![
        text("url.path", "/"),
        text("http.request.method", "GET"),
        text("http.route", "/"),
        attribute(
            "http.response.status_code",
            Value::IntValue(if fails { 500 } else { 200 }),
        ),
    ];
    edge.trace_state = "ot=th:c".to_owned();
    edge.links = vec![Link {
        trace_id: trace_id(0xfeed),
        span_id: 0xbeef_u64.to_be_bytes().to_vec(),
        attributes: vec![text("reason", "caller not trusted")],
        ..Link::default()
    }];
    let call = "spoor.ab.v1.ServiceB/Work";
    let client = span(trace, id + 2, id + 1, call, start + 4, end - 6);
    let client = kind(client, SpanKind::Client);
    let server = span(trace, id + 3, id + 2, call, start + 9, end - 10);
    let mut server = kind(server, SpanKind::Server);
    server.attributes = vec![
        text("rpc.system", "grpc"),
        text("rpc.service", "spoor.ab.v1.ServiceB"),
        attribute(
            "rpc.grpc.status_code",
            Value::IntValue(if fails { 13 } else { 0 }),
        ),
    ];
    let wait_span = span(trace, id + 4, id + 3, "wait", start + 12, start + 12 + wait);
    let mut calculation = span(
        trace,
        id + 5,
        id + 3,
        "heavy_calc",
        start + 14 + wait,
        end - 14,
    );
    calculation.attributes = vec![
        attribute("calc.rounds", Value::IntValue(9_007_199_254_740_993)),
        attribute("calc.share", Value::DoubleValue(0.25)),
        attribute("calc.cached", Value::BoolValue(false)),
        attribute("calc.seed", Value::BytesValue(vec![1, 2, 3, 4])),
    ];
    if fails {
        calculation.status = Some(Status {
            message: "the calculation failed".to_owned(),
            code: 2,
        });
        calculation.events = vec![Event {
            time_unix_nano: (end - 20) * MS,
            name: "exception".to_owned(),
            attributes: vec![
                text("exception.type", "CalcError"),
                text("exception.message", "the calculation failed"),
            ],
            ..Event::default()
        }];
    }
    vec![
        batch("service-a", vec![edge, client]),
        batch("service-b", vec![server, wait_span, calculation]),
    ]
}
