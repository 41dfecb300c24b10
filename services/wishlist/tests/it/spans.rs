//! Catches the spans that both services export.

use std::sync::LazyLock;

use spoor_telemetry::Telemetry;
use spoor_testing::Spans;

/// Both services' telemetry, and what they export.
pub struct Caught {
    pub gateway: Telemetry,
    pub wishlist: Telemetry,
    pub spans: Spans,
}

/// One for all tests: a process has one subscriber. It is wishlist's, the only one of the two
/// that makes spans of its own.
pub static CAUGHT: LazyLock<Caught> = LazyLock::new(|| {
    let spans = Spans::default();
    let (gateway, wishlist) = (spans.of("gateway"), spans.of("wishlist"));
    tracing::subscriber::set_global_default(wishlist.subscriber().unwrap()).unwrap();
    Caught {
        gateway,
        wishlist,
        spans,
    }
});
