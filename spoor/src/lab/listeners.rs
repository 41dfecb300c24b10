//! The listeners of the lab's own ports.

use std::time::Duration;

use spoor_runtime::{CutOff, Listener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than the lab's own end: what is still open then is closed with it.
const GRACE: Duration = Duration::from_secs(15);

/// The listeners, until they are closed.
pub(super) struct Listeners {
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<(), CutOff>)>,
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves until the listeners close; `name` is for the log.
    pub(super) fn serve(&mut self, name: &'static str, listener: Listener) {
        let serving = listener.serve(GRACE, self.stop.clone());
        self.tasks.spawn(async move { (name, serving.await) });
    }

    /// Accepts nothing more and waits for the requests in flight, at most for `grace`.
    pub(super) async fn close(mut self, grace: Duration) {
        self.stop.cancel();
        let all_closed = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((listener, Err(error))) => tracing::error!(%error, listener, "cut off"),
                    Err(error) => tracing::error!(%error, "a listener failed"),
                }
            }
        };
        if tokio::time::timeout(grace, all_closed).await.is_err() {
            tracing::info!("closing connections that were still open after {grace:?}");
        }
    }
}
