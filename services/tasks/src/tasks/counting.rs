//! Periodic counting of the tasks in the store, for metrics.

use std::{error::Error, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    metrics::Metrics,
    store::{StoreError, TaskStore},
    task::Moment,
};

/// The interval between counts: fresh enough for a scrape, and a negligible load for the store.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Counts until stopped, and logs when the store becomes unavailable or available.
pub(super) async fn run(store: &dyn TaskStore, metrics: &Metrics, stop: CancellationToken) {
    // True at first, so that a store which is down at startup is logged, but not one that is up.
    let mut was_up = true;
    while let Some(counted) = stop.run_until_cancelled(store.count(Moment::now())).await {
        was_up = record(
            counted.map(|count| metrics.set_counts(count)),
            metrics,
            was_up,
        );
        if stop
            .run_until_cancelled(tokio::time::sleep(COUNT_INTERVAL))
            .await
            .is_none()
        {
            break;
        }
    }
}

fn record(counted: Result<(), StoreError>, metrics: &Metrics, was_up: bool) -> bool {
    match &counted {
        Ok(()) if !was_up => tracing::info!("task store available again"),
        Ok(()) => {}
        Err(error) => {
            // Old numbers would look current.
            metrics.clear_counts();
            // Only the change is logged, since this runs every second.
            if was_up {
                tracing::warn!(error = error as &dyn Error, "task store unavailable");
            }
        }
    }
    counted.is_ok()
}
