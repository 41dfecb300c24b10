//! The wait: what a slow statement in a database would cost.

use std::time::Duration;

use tracing::Instrument;

/// Waits under a span that looks like a database's, so that a trace shows where the time goes.
/// A wait of nothing leaves no span.
pub(super) async fn query(wait: Duration) {
    if wait.is_zero() {
        return;
    }
    let span = spoor_telemetry::database::statement(
        "postgresql",
        "SELECT orders",
        "SELECT * FROM orders WHERE customer = $1",
    );
    tokio::time::sleep(wait).instrument(span).await;
}
