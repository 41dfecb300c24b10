//! The wait, which simulates a slow database statement.

use std::time::Duration;

use tracing::Instrument;

/// Waits in a span like that of a database client, so that a trace shows where the time goes. A
/// wait of zero makes no span.
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
