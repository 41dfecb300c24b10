//! Periodic counting of the tasks in the store, for metrics.

use std::{error::Error, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    metrics::Metrics,
    store::{StoreError, TaskCounts, TaskStore},
    task::Moment,
};

/// The interval between counts: fresh enough for a scrape, and a negligible load for the store.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Counts until stopped, and logs when the store becomes unavailable or available.
pub(super) async fn run(store: &dyn TaskStore, metrics: &Metrics, stop: CancellationToken) {
    let counting = async {
        // True at first, so that a store which is down at startup is logged, but not one that is up.
        let mut was_up = true;
        loop {
            let counted = store.count(Moment::now()).await;
            was_up = record(counted, metrics, was_up);
            tokio::time::sleep(COUNT_INTERVAL).await;
        }
    };
    stop.run_until_cancelled(counting).await;
}

fn record(counted: Result<TaskCounts, StoreError>, metrics: &Metrics, was_up: bool) -> bool {
    match &counted {
        Ok(counts) => {
            metrics.set_counts(*counts);
            if !was_up {
                tracing::info!("task store available again");
            }
        }
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
