//! Collection of the spans that the services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// The telemetry of the services, and the spans they export.
pub struct Captured {
    pub gateway: Telemetry,
    pub wishlist: Telemetry,
    pub offers: Telemetry,
    pub marketplace: Telemetry,
    pub spans: Spans,
}

/// Shared by all tests, since a process has one subscriber. It is wishlist's, which therefore
/// exports the manual spans of offers as well.
pub static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let spans = Spans::default();
    let (gateway, wishlist) = (spans.telemetry("gateway"), spans.telemetry("wishlist"));
    tracing::subscriber::set_global_default(wishlist.subscriber().unwrap()).unwrap();
    Captured {
        gateway,
        wishlist,
        offers: spans.telemetry("offers"),
        marketplace: spans.telemetry("marketplace"),
        spans,
    }
});
