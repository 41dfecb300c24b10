//! Collection of the spans that both services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// The telemetry of both services, and the spans they export.
pub struct Captured {
    pub a: Telemetry,
    pub b: Telemetry,
    pub spans: Spans,
}

/// Shared by all tests, since a process has one subscriber. It is that of service-b, the only one of the
/// two with spans of its own.
pub static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let spans = Spans::default();
    let (a, b) = (spans.telemetry("service-a"), spans.telemetry("service-b"));
    tracing::subscriber::set_global_default(b.subscriber().unwrap()).unwrap();
    Captured { a, b, spans }
});
