//! Collection of the spans that all four services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// The telemetry of the services, and the spans they export.
pub struct Caught {
    pub preprocessing: Telemetry,
    pub ensemble: Telemetry,
    pub efficientnetb0: Telemetry,
    pub mobilenetv2: Telemetry,
    pub spans: Spans,
}

/// Shared by all tests, since a process has one subscriber. It is that of preprocessing; the service of
/// a manual span is that of its parent.
pub static CAUGHT: LazyLock<Caught> = LazyLock::new(|| {
    let spans = Spans::default();
    let caught = Caught {
        preprocessing: spans.telemetry("preprocessing"),
        ensemble: spans.telemetry("ensemble"),
        efficientnetb0: spans.telemetry("efficientnetb0"),
        mobilenetv2: spans.telemetry("mobilenetv2"),
        spans,
    };
    let subscriber = caught.preprocessing.subscriber().unwrap();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    caught
});
