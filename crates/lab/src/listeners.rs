//! The listeners of the lab's own ports.

use std::time::Duration;

use spoor_runtime::{CutOff, Listener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The time for requests in progress when a listener stops. It is longer than the lab waits in
/// `close`, which therefore determines when the remaining connections are closed.
const GRACE: Duration = Duration::from_secs(15);

/// The listeners, until they are closed.
#[derive(Default)]
pub(super) struct Listeners {
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<(), CutOff>)>,
}

impl Listeners {
    /// Serves until the listeners close. The name appears in the log.
    pub(super) fn serve(&mut self, name: &'static str, listener: Listener) {
        let serving = listener.serve(GRACE, self.stop.clone());
        self.tasks.spawn(async move { (name, serving.await) });
    }

    /// Stops accepting connections and waits up to `grace` for requests in progress.
    pub(super) async fn close(mut self, grace: Duration) {
        self.stop.cancel();
        let all_closed = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((listener, Err(error))) => {
                        tracing::error!(%error, listener, "requests cut off");
                    }
                    Err(error) => tracing::error!(%error, "listener failed"),
                }
            }
        };
        // On return the tasks are dropped, which closes the connections that are still open.
        if tokio::time::timeout(grace, all_closed).await.is_err() {
            tracing::info!(?grace, "closing connections that are still open");
        }
    }
}
