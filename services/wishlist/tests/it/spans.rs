//! Catches the spans that both services export.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use bytes::Bytes;
use opentelemetry_sdk::trace::SpanData;
use spoor_telemetry::{
    Settings, Telemetry,
    export::{Accepted, Export, Sending},
};
use tokio::time::Instant;

/// Both services' telemetry, and what they export.
pub struct Caught {
    pub gateway: Telemetry,
    pub wishlist: Telemetry,
    spans: Arc<Spans>,
}

#[derive(Default)]
struct Spans(Mutex<Vec<SpanData>>);

impl Export for Spans {
    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        self.0.lock().unwrap().extend(spans);
        Bytes::new()
    }

    fn send(&self, _: Bytes) -> Sending<'_> {
        Box::pin(async { Ok(Accepted::default()) })
    }
}

/// One for all tests: a process has one subscriber. It is wishlist's, the only one of the two
/// that makes spans of its own.
pub static CAUGHT: LazyLock<Caught> = LazyLock::new(|| {
    let spans = Arc::new(Spans::default());
    let start = |name: &str| {
        let settings = Settings::read(|variable| match variable {
            "OTEL_SERVICE_NAME" => Some(String::from(name)),
            "OTEL_BSP_SCHEDULE_DELAY" => Some("10".to_owned()),
            "RUST_LOG" => Some("off".to_owned()),
            _ => None,
        });
        Telemetry::with_exporter(settings.unwrap(), Arc::clone(&spans) as Arc<dyn Export>).unwrap()
    };
    let (gateway, wishlist) = (start("gateway"), start("wishlist"));
    tracing::subscriber::set_global_default(wishlist.subscriber().unwrap()).unwrap();
    Caught {
        gateway,
        wishlist,
        spans,
    }
});

impl Caught {
    /// This trace's spans, once there are so many.
    pub async fn trace(&self, id: &str, count: usize) -> Vec<SpanData> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.so_far(id);
            if found.len() >= count {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} spans: {found:#?}",
                found.len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn so_far(&self, id: &str) -> Vec<SpanData> {
        let spans = self.spans.0.lock().unwrap();
        let of_trace = |span: &&SpanData| span.span_context.trace_id().to_string() == id;
        spans.iter().filter(of_trace).cloned().collect()
    }
}
