//! Collection of the spans that all four services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// The telemetry of the services, and the spans they export.
pub struct Captured {
    pub preprocessing: Telemetry,
    pub ensemble: Telemetry,
    pub efficientnetb0: Telemetry,
    pub mobilenetv2: Telemetry,
    pub spans: Spans,
}

/// Shared by all tests, since a process has one subscriber. It is preprocessing's, which
/// therefore exports the manual spans of the other services as well.
pub static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let spans = Spans::default();
    let captured = Captured {
        preprocessing: spans.telemetry("preprocessing"),
        ensemble: spans.telemetry("ensemble"),
        efficientnetb0: spans.telemetry("efficientnetb0"),
        mobilenetv2: spans.telemetry("mobilenetv2"),
        spans,
    };
    let subscriber = captured.preprocessing.subscriber().unwrap();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    captured
});
