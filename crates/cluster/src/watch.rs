//! The watch of policies.

use std::pin::pin;

use futures_util::StreamExt;
use kube::runtime::{
    WatchStreamExt,
    watcher::{Config, Event, watcher},
};
use spoor_runtime::with_causes;
use tokio_util::sync::CancellationToken;

use crate::ClusterClient;

/// The time after which the API server ends a watch, which then continues where it ended. It is
/// shorter than the client's read timeout, so only a broken connection is silent for that long.
const WATCH_TIMEOUT_SECONDS: u32 = 60;

impl ClusterClient {
    /// Follows the policies until `stop`, so that their changes are counted.
    pub async fn watch(&self, stop: &CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&self) {
        let api = self.api(self.source().namespace.as_ref());
        let config = Config::default().timeout(WATCH_TIMEOUT_SECONDS);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut is_failing = false;
        // The backoff has no maximum number of attempts, so the stream does not end.
        while let Some(event) = events.next().await {
            match event {
                // The list at the start of a watch, which ends with `InitDone`.
                Ok(Event::Init | Event::InitApply(_)) => continue,
                Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => is_failing = false,
                Err(error) => {
                    if !is_failing {
                        let error = with_causes(&error);
                        tracing::warn!(error, "cannot watch policies; retrying");
                    }
                    is_failing = true;
                }
            }
            // After a failure, too: pages then read again, and show the error or, for a user who
            // may list but not watch, the newest state.
            self.changes().send_modify(|it| *it = it.wrapping_add(1));
        }
    }
}
