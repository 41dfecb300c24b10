//! An exporter with configured responses that keeps the spans it gets, and spans as text.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use opentelemetry_proto::{
    tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, any_value::Value},
        trace::v1::Span,
    },
    transform::trace::tonic::group_spans_by_resource_and_scope,
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use prost::Message;
use spoor_telemetry::{
    Telemetry, TelemetrySettings,
    export::{Export, ExportResponse, Failure, Sending},
};

/// Long enough for any machine. Only a failing test waits for all of it.
pub const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub struct Fake {
    responses: Mutex<VecDeque<Result<ExportResponse, Failure>>>,
    spans: Mutex<Vec<Span>>,
    held: AtomicBool,
    pub attempts: AtomicUsize,
    /// The length of the longest request, in bytes.
    pub longest: AtomicUsize,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Gives these responses to the first attempts, and accepts all others.
    pub fn responding(
        responses: impl IntoIterator<Item = Result<ExportResponse, Failure>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            responses: Mutex::new(responses.into_iter().collect()),
            ..Self::default()
        })
    }

    /// Does not respond until released.
    pub fn held() -> Arc<Self> {
        Arc::new(Self {
            held: AtomicBool::new(true),
            ..Self::default()
        })
    }

    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

impl Export for Fake {
    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        let resource = &Resource::builder_empty().build();
        let resource_spans = group_spans_by_resource_and_scope(spans, &resource.into());
        ExportTraceServiceRequest { resource_spans }
            .encode_to_vec()
            .into()
    }

    fn send(&self, batch: Bytes) -> Sending<'_> {
        Box::pin(async move {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            self.longest.fetch_max(batch.len(), Ordering::SeqCst);
            while self.held.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let response = self.responses.lock().unwrap().pop_front();
            let accepted = response.unwrap_or_else(|| Ok(ExportResponse::default()))?;
            let request = ExportTraceServiceRequest::decode(batch).unwrap();
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|it| it.scope_spans);
            self.spans
                .lock()
                .unwrap()
                .extend(scopes.flat_map(|it| it.spans));
            Ok(accepted)
        })
    }
}

pub fn settings(variables: &[(&str, &str)]) -> TelemetrySettings {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    TelemetrySettings::read(|name| {
        variables
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    })
    .unwrap()
}

pub fn telemetry(variables: &[(&str, &str)]) -> (Telemetry, Arc<Fake>) {
    let fake = Fake::new();
    (
        Telemetry::with_exporter(settings(variables), fake.clone()).unwrap(),
        fake,
    )
}

/// Shuts down the telemetry, and returns the exported spans by start.
pub async fn finish(telemetry: &Telemetry, fake: &Fake) -> Vec<Span> {
    telemetry.shutdown(DEADLINE).await;
    let mut spans = fake.spans();
    spans.sort_by_key(|span| span.start_time_unix_nano);
    spans
}

/// Spans as text that is the same in each run: without ports, and with no IDs but the trace IDs of
/// links.
pub fn text(spans: &[Span]) -> String {
    let mut text = String::new();
    for span in spans {
        let status = span.status.clone().unwrap_or_default();
        let parent = spans.iter().find(|it| it.span_id == span.parent_span_id);
        writeln!(
            text,
            "{} ({:?}) parent={} status={:?} {:?}",
            span.name,
            span.kind(),
            match parent {
                Some(parent) => parent.name.as_str(),
                None if span.parent_span_id.is_empty() => "none",
                None => "remote",
            },
            status.code(),
            status.message
        )
        .unwrap();
        for link in &span.links {
            writeln!(text, "  link {}", hex(&link.trace_id)).unwrap();
        }
        let mut attributes: Vec<_> = span.attributes.iter().collect();
        attributes.sort_by(|a, b| a.key.cmp(&b.key));
        for attribute in attributes {
            let value = match attribute.key.as_str() {
                "network.peer.port" | "server.port" | "busy_ns" | "idle_ns" => "…".to_owned(),
                _ => value(attribute.value.as_ref()),
            };
            writeln!(text, "  {} = {value}", attribute.key).unwrap();
        }
        for event in &span.events {
            writeln!(text, "  event {}", event.name).unwrap();
            for attribute in &event.attributes {
                let value = value(attribute.value.as_ref());
                writeln!(text, "    {} = {value}", attribute.key).unwrap();
            }
        }
    }
    text
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn value(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => format!("{text:?}"),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
