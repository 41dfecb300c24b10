//! A service's own port and its operations port.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use spoor_runtime::{Sockets, ops_listener};
use tokio_util::sync::CancellationToken;

use super::{Grpc, ServeError, bind, grpc, http};
use crate::Telemetry;

/// The two bound ports of a service.
#[derive(Debug)]
pub struct ServicePorts {
    listener: Sockets,
    ops: Sockets,
}

impl ServicePorts {
    /// Binds the addresses of `--listen` and `--ops-listen`; port 0 stands for any free one.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the port that cannot be bound.
    pub async fn take(listen: SocketAddr, ops_listen: SocketAddr) -> Result<Self, ServeError> {
        Ok(Self {
            listener: bind(listen, "--listen").await?,
            ops: bind(ops_listen, "--ops-listen").await?,
        })
    }

    /// The address on which the service listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of its metrics and health.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves an HTTP edge until `stop`: the router behind [`Telemetry::http_server`], and the
    /// operations port until the last request is done. Requests in flight finish within `grace`.
    ///
    /// # Errors
    /// As [`http()`].
    pub async fn serve_http(
        self,
        router: Router,
        grace: Duration,
        telemetry: &Telemetry,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let router = telemetry.http_server(router);
        self.serve_router(router, grace, telemetry, stop).await
    }

    /// Serves HTTP inside the mesh until `stop`: as [`ServicePorts::serve_http`], with the router
    /// behind [`Telemetry::http_server_in_mesh`].
    ///
    /// # Errors
    /// As [`http()`].
    pub async fn serve_http_in_mesh(
        self,
        router: Router,
        grace: Duration,
        telemetry: &Telemetry,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let router = telemetry.http_server_in_mesh(router);
        self.serve_router(router, grace, telemetry, stop).await
    }

    async fn serve_router(
        self,
        router: Router,
        grace: Duration,
        telemetry: &Telemetry,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let serving = http(self.listener, router, grace, stop.clone());
        with_ops(serving, self.ops, telemetry, stop).await
    }

    /// Serves gRPC until `stop`, as [`grpc`], and the operations port until the last call is done.
    ///
    /// # Errors
    /// As [`grpc`].
    pub async fn serve_grpc(
        self,
        server: Grpc,
        telemetry: &Telemetry,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let serving = grpc(self.listener, server, telemetry, stop.clone());
        with_ops(serving, self.ops, telemetry, stop).await
    }
}

/// Serves a service beside its operations port: ready from now until `stop`, and answering there
/// until the last request is done.
async fn with_ops(
    serving: impl Future<Output = Result<(), ServeError>>,
    ops: Sockets,
    telemetry: &Telemetry,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(1);
    let done = CancellationToken::new();
    let ops = ops_listener(ops, telemetry.ops()).serve(SHUTDOWN_DEADLINE, done.clone());
    let ops = async { Ok(ops.await?) };
    let unready = async {
        stop.cancelled().await;
        telemetry.set_ready(false);
        Ok(())
    };
    let serving = async {
        let result = serving.await;
        // Probes and scrapers are answered until the last request is.
        done.cancel();
        result
    };
    // The sockets are bound, so that connections wait in the kernel until they are accepted.
    telemetry.set_ready(true);
    let result = tokio::try_join!(serving, ops, unready).map(|_| ());
    telemetry.set_ready(false);
    result
}
