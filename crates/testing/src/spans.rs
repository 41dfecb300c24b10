//! Collects the spans that services export.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use spoor_telemetry::{
    Telemetry, TelemetrySettings,
    export::{Export, ExportResponse, Sending},
};
use tokio::time::Instant;

/// The spans of all services that export to it.
#[derive(Clone, Debug, Default)]
pub struct Spans(Arc<Collected>);

#[derive(Debug, Default)]
struct Collected(Mutex<Vec<SpanData>>);

impl Export for Collected {
    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        self.0.lock().unwrap().extend(spans);
        Bytes::new()
    }

    fn send(&self, _: Bytes) -> Sending<'_> {
        Box::pin(async { Ok(ExportResponse::default()) })
    }
}

impl Spans {
    /// The telemetry of a service, which exports its spans to this collection.
    #[must_use]
    pub fn telemetry(&self, service: &str) -> Telemetry {
        let settings = TelemetrySettings::read(|variable| match variable {
            "OTEL_SERVICE_NAME" => Some(service.to_owned()),
            "OTEL_BSP_SCHEDULE_DELAY" => Some("10".to_owned()),
            "RUST_LOG" => Some("off".to_owned()),
            _ => None,
        });
        let exporter = Arc::clone(&self.0) as Arc<dyn Export>;
        Telemetry::with_exporter(settings.unwrap(), exporter).unwrap()
    }

    /// Waits for at least `count` spans of a trace and returns them.
    pub async fn trace(&self, id: &str, count: usize) -> Vec<SpanData> {
        let of_trace = |span: &SpanData| span.span_context.trace_id().to_string() == id;
        self.wait_for(of_trace, count).await
    }

    /// Waits for at least `count` spans with a link to a trace and returns them.
    pub async fn linked_to(&self, id: &str, count: usize) -> Vec<SpanData> {
        let links = |span: &SpanData| {
            let mut links = span.links.iter();
            links.any(|link| link.span_context.trace_id().to_string() == id)
        };
        self.wait_for(links, count).await
    }

    async fn wait_for(&self, matches: impl Fn(&SpanData) -> bool, count: usize) -> Vec<SpanData> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let spans = self.matching(&matches);
            if spans.len() >= count {
                return spans;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} spans: {spans:#?}",
                spans.len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn matching(&self, matches: impl Fn(&SpanData) -> bool) -> Vec<SpanData> {
        let spans = self.0.0.lock().unwrap();
        spans.iter().filter(|span| matches(span)).cloned().collect()
    }
}

/// The only span of this name and kind.
#[must_use]
pub fn only_span<'a>(spans: &'a [SpanData], name: &str, kind: &SpanKind) -> &'a SpanData {
    let matching: Vec<_> = spans
        .iter()
        .filter(|span| span.name == name && span.span_kind == *kind)
        .collect();
    assert_eq!(matching.len(), 1, "{name} {kind:?} among {spans:#?}");
    matching[0]
}
