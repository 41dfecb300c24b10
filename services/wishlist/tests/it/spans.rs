//! Catches the spans that the services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// The services' telemetry, and what they export.
pub struct Caught {
    pub gateway: Telemetry,
    pub wishlist: Telemetry,
    pub offers: Telemetry,
    pub marketplace: Telemetry,
    pub spans: Spans,
}

/// One for all tests: a process has one subscriber. It is wishlist's, and exports what offers
/// makes of spans of its own as well.
pub static CAUGHT: LazyLock<Caught> = LazyLock::new(|| {
    let spans = Spans::default();
    let (gateway, wishlist) = (spans.of("gateway"), spans.of("wishlist"));
    tracing::subscriber::set_global_default(wishlist.subscriber().unwrap()).unwrap();
    Caught {
        gateway,
        wishlist,
        offers: spans.of("offers"),
        marketplace: spans.of("marketplace"),
        spans,
    }
});
