//! Requests of typical spans, whose trace IDs are replaced in a copy.

use std::fmt;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use prost::Message;

pub const SPANS_IN_TRACE: u64 = 10;

/// The distribution of a trace over requests.
#[derive(Clone, Copy)]
pub enum Arrangement {
    /// One request has all spans of each of its traces, as if one service made them.
    OneRequest,
    /// Each of ten services has one span of each trace, and sends them in a request of its own. So
    /// every span is added to another trace than the one before it.
    TenRequests,
}

impl fmt::Display for Arrangement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneRequest => "traces in one request",
            Self::TenRequests => "traces in ten requests",
        })
    }
}

/// A sequence of requests without end.
pub struct Requests {
    arrangement: Arrangement,
    /// The spans in a request.
    spans: u64,
    /// The requests of a group, after which all traces are complete.
    group: Vec<Template>,
}

/// An encoded request, with the positions of its trace IDs.
struct Template {
    body: Vec<u8>,
    trace_ids: Vec<usize>,
}

impl Requests {
    /// The spans in a request are rounded up to whole traces.
    pub fn new(arrangement: Arrangement, spans_per_request: u64) -> Self {
        let spans = spans_per_request.max(1).next_multiple_of(SPANS_IN_TRACE);
        let group = match arrangement {
            Arrangement::OneRequest => {
                vec![Template::new(0, spans, |index| index % SPANS_IN_TRACE)]
            }
            Arrangement::TenRequests => (0..SPANS_IN_TRACE)
                .map(|service| Template::new(service, spans, |_| service))
                .collect(),
        };
        Self {
            arrangement,
            spans,
            group,
        }
    }

    /// The spans in a request.
    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// The number of requests after which all traces are complete.
    pub fn requests_in_group(&self) -> u64 {
        self.group.len() as u64
    }

    /// The number of traces in this number of requests.
    pub fn traces(&self, requests: u64) -> u64 {
        requests * self.spans / SPANS_IN_TRACE
    }

    /// The average length of a span.
    pub fn bytes_per_span(&self) -> u64 {
        let bytes = (0..SPANS_IN_TRACE).map(|place| span(place, 0).encoded_len() as u64);
        bytes.sum::<u64>() / SPANS_IN_TRACE
    }

    /// The request with this number.
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let template = &self.group[(number % self.requests_in_group()) as usize];
        let mut body = template.body.clone();
        for (index, at) in (0_u64..).zip(&template.trace_ids) {
            let trace = match self.arrangement {
                Arrangement::OneRequest => (number * self.spans + index) / SPANS_IN_TRACE,
                Arrangement::TenRequests => number / SPANS_IN_TRACE * self.spans + index,
            };
            body[*at..*at + 16].copy_from_slice(&trace_id(trace));
        }
        body
    }
}

impl Template {
    /// A request of one service. `place` is the place in its trace of the span with an index.
    fn new(service: u64, spans: u64, place: impl Fn(u64) -> u64) -> Self {
        let spans: Vec<Span> = (0..spans).map(|index| span(place(index), index)).collect();
        let ids: Vec<Vec<u8>> = spans.iter().map(|span| span.trace_id.clone()).collect();
        let scope_spans = ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tower-http".into(),
                version: "0.7.0".into(),
                ..InstrumentationScope::default()
            }),
            spans,
            ..ScopeSpans::default()
        };
        let attributes = vec![
            text("service.name", &format!("service-{service}")),
            text("service.namespace", "default"),
            text(
                "service.instance.id",
                "0c9a9d3e-5a3b-4d0e-9c35-0d6a8b6f1f11",
            ),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.version", "0.33.0"),
        ];
        let resource_spans = ResourceSpans {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        };
        let body = ExportTraceServiceRequest {
            resource_spans: vec![resource_spans],
        }
        .encode_to_vec();
        let mut from = 0;
        let trace_ids = ids.iter().map(|id| {
            from += find(&body[from..], id);
            from
        });
        Self {
            trace_ids: trace_ids.collect(),
            body,
        }
    }
}

/// A span at a place in its trace, with a trace ID that is found by its content. The root ends
/// last, so it has the last place.
fn span(place: u64, index: u64) -> Span {
    const ROOT: u64 = SPANS_IN_TRACE - 1;
    const START: u64 = 1_790_000_000_000_000_000;
    let span_id = |place: u64| vec![place as u8 + 1; 8];
    let mut trace_id = vec![0xfe; 16];
    trace_id[8..].copy_from_slice(&(u64::MAX - index).to_be_bytes());
    let parent_span_id = match place {
        ROOT => Vec::new(),
        _ => span_id(ROOT),
    };
    Span {
        trace_id,
        span_id: span_id(place),
        parent_span_id,
        name: "GET /items/{id}".into(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: START,
        end_time_unix_nano: START + 1_000_000 * (place + 1),
        attributes: vec![
            text("http.request.method", "GET"),
            text("http.route", "/items/{id}"),
            number("http.response.status_code", 200),
            text("url.path", "/items/8d1f0a7"),
            text("server.address", "shop.example"),
            number("server.port", 8080),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", "curl/8.5.0"),
        ],
        flags: 0x101,
        ..Span::default()
    }
}

/// The ID of the trace with this number. The Collector's hash is uniform over random IDs only.
fn trace_id(trace: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(2 * trace).to_be_bytes());
    id[8..].copy_from_slice(&mix(2 * trace + 1).to_be_bytes());
    id
}

/// SplitMix64.
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
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
