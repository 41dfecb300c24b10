//! Catches the spans that both services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// Both services' telemetry, and what they export.
pub struct Caught {
    pub a: Telemetry,
    pub b: Telemetry,
    pub spans: Spans,
}

/// One for all tests: a process has one subscriber. It is service-b's, the only one of the two
/// that makes spans of its own.
pub static CAUGHT: LazyLock<Caught> = LazyLock::new(|| {
    let spans = Spans::default();
    let (a, b) = (spans.of("service-a"), spans.of("service-b"));
    tracing::subscriber::set_global_default(b.subscriber().unwrap()).unwrap();
    Caught { a, b, spans }
});
