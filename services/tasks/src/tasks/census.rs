//! Counts the tasks in the store again and again, for the operators' metrics.

use std::{error::Error, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    measures::Measures,
    store::{Store, StoreError},
    task::Moment,
};

/// Between two counts: fresh enough for a scrape, and next to nothing for the store.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts until `stop`, and logs when the store goes away and when it is back.
pub(super) async fn keep(store: &dyn Store, measures: &Measures, stop: CancellationToken) {
    let mut was_up = true;
    while let Some(counted) = stop.run_until_cancelled(store.census(Moment::now())).await {
        was_up = note(
            counted.map(|census| measures.counted(census)),
            measures,
            was_up,
        );
        if stop
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_none()
        {
            break;
        }
    }
}

fn note(counted: Result<(), StoreError>, measures: &Measures, was_up: bool) -> bool {
    match &counted {
        Ok(()) if !was_up => tracing::info!("the store answers again"),
        Ok(()) => {}
        Err(error) => {
            measures.uncounted();
            if was_up {
                tracing::warn!(error = error as &dyn Error, "the store doesn't answer");
            }
        }
    }
    counted.is_ok()
}
