//! A service's own port and its ops port.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use axum::Router;
use spoor_runtime::{Sockets, ops_listener};
use tokio_util::sync::CancellationToken;

use super::{Grpc, ListenAddresses, ServeError, bind, grpc, http};
use crate::Telemetry;

/// Any free port of this machine, where no address is set.
const FREE_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// The two bound ports of a service, with the telemetry of its requests.
#[derive(Debug)]
pub struct Server {
    /// The telemetry of the service.
    pub telemetry: Telemetry,
    /// Cancelled when the service should end. Requests accepted before then are completed.
    pub shutdown: CancellationToken,
    /// The sockets on which the service listens.
    pub listener: Sockets,
    /// The sockets of its metrics and health.
    pub ops: Sockets,
}

impl Server {
    /// Binds both ports.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the port that cannot be bound.
    pub fn bind(
        addresses: ListenAddresses,
        telemetry: Telemetry,
        shutdown: CancellationToken,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            listener: bind(addresses.listen.unwrap_or(FREE_PORT), "--listen")?,
            ops: bind(addresses.ops_listen.unwrap_or(FREE_PORT), "--ops-listen")?,
            telemetry,
            shutdown,
        })
    }

    /// Serves an HTTP edge until the shutdown: the router behind [`Telemetry::http_server`].
    /// Requests in flight finish within `grace`, and the ops port is open until then.
    ///
    /// # Errors
    /// As [`http()`].
    pub async fn serve_http(self, router: Router, grace: Duration) -> Result<(), ServeError> {
        let router = self.telemetry.http_server(router);
        self.serve_router(router, grace).await
    }

    /// Serves HTTP inside the mesh until the shutdown: like [`Server::serve_http`], but with the
    /// router behind [`Telemetry::http_server_in_mesh`].
    ///
    /// # Errors
    /// As [`http()`].
    pub async fn serve_http_in_mesh(
        self,
        router: Router,
        grace: Duration,
    ) -> Result<(), ServeError> {
        let router = self.telemetry.http_server_in_mesh(router);
        self.serve_router(router, grace).await
    }

    async fn serve_router(self, router: Router, grace: Duration) -> Result<(), ServeError> {
        let serving = http(self.listener, router, grace, self.shutdown.clone());
        with_ops(serving, self.ops, &self.telemetry, self.shutdown).await
    }

    /// Serves gRPC until the shutdown, as [`grpc`] does, and the ops port until the last call is
    /// done.
    ///
    /// # Errors
    /// As [`grpc`].
    pub async fn serve_grpc(self, server: Grpc) -> Result<(), ServeError> {
        let stop = self.shutdown.clone();
        let serving = grpc(self.listener, server, &self.telemetry, stop);
        with_ops(serving, self.ops, &self.telemetry, self.shutdown).await
    }
}

/// Serves a service and its ops port. The service is ready from now until `stop`, and the
/// ops port is open until the last request is completed.
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
        // The ops port is open until the last request is completed.
        done.cancel();
        result
    };
    // The sockets are bound, so connections wait in the kernel until they are accepted.
    telemetry.set_ready(true);
    let result = tokio::try_join!(serving, ops, unready).map(|_| ());
    telemetry.set_ready(false);
    result
}
