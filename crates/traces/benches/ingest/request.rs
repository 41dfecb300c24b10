//! A request of typical spans, whose trace IDs are replaced in place.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};
use prost::Message;

/// Spans in a request.
pub const SPANS: u64 = 100;

pub struct Request {
    body: Vec<u8>,
    /// The positions of each span's trace ID and start.
    spans: Vec<(usize, usize)>,
    spans_in_trace: u64,
    sent: u64,
}

impl Request {
    pub fn new(spans_in_trace: u64) -> Self {
        let spans: Vec<Span> = (0..SPANS).map(span).collect();
        let scope = ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tower-http".into(),
                version: "0.7.0".into(),
                ..InstrumentationScope::default()
            }),
            spans: spans.clone(),
            ..ScopeSpans::default()
        };
        let attributes = vec![
            text("service.name", "service-a"),
            text("service.namespace", "default"),
            text(
                "service.instance.id",
                "0c9a9d3e-5a3b-4d0e-9c35-0d6a8b6f1f11",
            ),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.version", "0.33.0"),
        ];
        let resource = ResourceSpans {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        };
        let body = ExportTraceServiceRequest {
            resource_spans: vec![resource],
        }
        .encode_to_vec();
        let mut from = 0;
        let spans = spans.iter().map(|span| {
            let id = from + find(&body[from..], &span.trace_id);
            let start = id + find(&body[id..], &span.start_time_unix_nano.to_le_bytes());
            from = start;
            (id, start)
        });
        Self {
            spans: spans.collect(),
            body,
            spans_in_trace,
            sent: 0,
        }
    }

    /// Gives the spans new trace IDs and times, and returns the request.
    pub fn renew(&mut self) -> &[u8] {
        for (id, start) in &self.spans {
            let trace = self.sent / self.spans_in_trace + 1;
            // Distributed like random IDs.
            let low = trace.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.body[*id..*id + 8].copy_from_slice(&trace.to_be_bytes());
            self.body[*id + 8..*id + 16].copy_from_slice(&low.to_be_bytes());
            let now = START + self.sent * 1_000;
            self.body[*start..*start + 8].copy_from_slice(&now.to_le_bytes());
            // The key of the end time is between the two times.
            let end = now + 1_000_000 + low % 1_000_000;
            self.body[*start + 9..*start + 17].copy_from_slice(&end.to_le_bytes());
            self.sent += 1;
        }
        &self.body
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub fn span_bytes(&self) -> usize {
        span(0).encoded_len()
    }
}

const START: u64 = 1_790_000_000_000_000_000;

fn span(index: u64) -> Span {
    let mut span_id = vec![7; 8];
    span_id[0] = index as u8;
    // Located in the encoded request by its content.
    let mut trace_id = vec![0xfe; 16];
    trace_id[15] = index as u8;
    Span {
        trace_id,
        span_id,
        name: ["GET /items/{id}", "GET /", "POST /orders", "GET /offers"][index as usize % 4]
            .into(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: START + index,
        end_time_unix_nano: START + index + 1_000_000,
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/items/{id}"),
            number(
                "http.response.status_code",
                if index == 50 { 500 } else { 200 },
            ),
            text("url.path", "/items/8d1f"),
            text("server.address", "shop.example"),
            number("server.port", 8080),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", "curl/8.5.0"),
            text("customer.tier", if index == 99 { "gold" } else { "none" }),
        ],
        status: (index == 50).then(|| Status {
            code: 2,
            ..Status::default()
        }),
        flags: 0x101,
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue {
        key: key.into(),
        value,
        ..KeyValue::default()
    }
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .position(|window| window == part)
        .expect("the part")
}
