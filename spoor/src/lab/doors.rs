//! Serves what listens on the lab's ports.

use std::time::Duration;

use axum::Router;
use spoor_telemetry::serve;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

/// What serves at the lab's ports.
pub(super) struct Doors {
    stop: CancellationToken,
    tasks: JoinSet<(&'static str, Result<(), ServeError>)>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Http(#[from] serve::ServeError),
    #[error("accept connections")]
    Grpc(#[from] tonic::transport::Error),
}

impl Doors {
    pub(super) fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves HTTP until the doors close.
    pub(super) fn http(&mut self, what: &'static str, listener: TcpListener, router: Router) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let served = serve::http(listener, router, serve::GRACE, stop).await;
            (what, served.map_err(ServeError::from))
        });
    }

    /// Serves gRPC until the doors close.
    pub(super) fn grpc(
        &mut self,
        what: &'static str,
        listener: TcpListener,
        router: tonic::transport::server::Router,
    ) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let served = router
                .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
                .await;
            (what, served.map_err(ServeError::from))
        });
    }

    /// Lets in nobody else and waits for those inside, so long.
    pub(super) async fn close(mut self, grace: Duration) {
        self.stop.cancel();
        let all_gone = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((what, Err(error))) => tracing::error!("{what}: {error}"),
                    Err(error) => tracing::error!("a server failed: {error}"),
                }
            }
        };
        if tokio::time::timeout(grace, all_gone).await.is_err() {
            tracing::info!("closing connections that were still open after {grace:?}");
        }
    }
}
