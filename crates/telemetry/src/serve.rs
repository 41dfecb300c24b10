//! Servers: bind, serve, and drain within a grace period.

mod program;
mod server;

use std::{convert::Infallible, time::Duration};

use axum::{Router, response::IntoResponse};
use http::{Request, StatusCode};
use spoor_runtime::{
    CutOff, Limits, Listener, Problem, ReflectionError, Sockets, by_protocol, with_introspection,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::Routes};
use tower::{Layer, Service};

use crate::Telemetry;

pub use program::{ListenAddresses, Program, ServiceArgs};
pub use server::Server;
pub use spoor_runtime::{BindError, bind};

/// The time that requests in flight have to finish after a shutdown begins. Edges add the deadline
/// of their requests.
pub const GRACE: Duration = Duration::from_secs(15);

/// The limits of a service's own port. Load generators use many connections, and services make many
/// concurrent calls on one.
const LIMITS: Limits = Limits {
    max_connections: 10_000,
    max_streams_per_connection: 1_024,
    // Each takes about 13 KiB before the first byte of its body.
    max_requests: 1_000,
    max_body_bytes: 32 << 20,
    header_timeout: Duration::from_secs(10),
    body_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(300),
    stall_timeout: Duration::from_secs(30),
};

/// The longest request of a gRPC service that receives only names and numbers. With tonic's default
/// of 4 MiB, a few unfinished requests would fill the memory of a small service.
pub const MAX_SMALL_MESSAGE_BYTES: usize = 16 << 10;

/// A failure to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The descriptors for reflection are invalid.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// Requests were still in flight when the grace period ended.
    #[error(transparent)]
    CutOff(#[from] CutOff),
}

/// Serves HTTP until `stop`, then finishes the requests in flight within `grace`. Handlers and
/// layers find the peer's address as `axum::extract::ConnectInfo<SocketAddr>`.
///
/// # Errors
/// [`ServeError::CutOff`].
pub async fn http(
    sockets: impl Into<Sockets>,
    router: Router,
    grace: Duration,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let listener = Listener::new(sockets, router).limits(LIMITS);
    Ok(listener.serve(grace, stop).await?)
}

/// A gRPC server: services behind the telemetry layer, with health and reflection.
#[derive(Debug)]
pub struct Grpc {
    /// The services, such as `Routes::new(ServiceBServer::new(b))`.
    pub routes: Routes,
    /// Their full names, for `grpc.health.v1.Health`, such as `spoor.ab.v1.ServiceB`.
    pub services: Vec<&'static str>,
    /// The encoded `FileDescriptorSet` for reflection.
    pub descriptors: &'static [u8],
    /// The time that requests in flight have after the stop.
    pub grace: Duration,
}

impl Grpc {
    /// A server with one service, such as a generated `ServiceBServer`, and its descriptors.
    pub fn new<S>(service: S, descriptors: &'static [u8]) -> Self
    where
        S: Service<
                Request<Body>,
                Response: IntoResponse,
                Error = Infallible,
                Future: Send + 'static,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        Self {
            routes: Routes::new(service),
            services: vec![S::NAME],
            descriptors,
            grace: GRACE,
        }
    }
}

/// Serves gRPC until `stop`: then health reports NOT_SERVING, and the requests in flight finish
/// within the grace period.
///
/// # Errors
/// [`ServeError::Reflection`], [`ServeError::CutOff`].
pub async fn grpc(
    sockets: impl Into<Sockets>,
    server: Grpc,
    telemetry: &Telemetry,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (routes, health) =
        with_introspection(server.routes, &server.services, server.descriptors).await?;
    let layered = telemetry.grpc_server_layer().layer(routes.prepare());
    // Outside the telemetry layer, since these requests are not gRPC calls. gRPC's own response would
    // have the status 200 and no body.
    let other_protocols = Router::new().fallback(async || {
        let detail = "this port serves gRPC only; use a gRPC client such as grpcurl -plaintext";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    });
    let router = by_protocol(other_protocols, Router::new().fallback_service(layered));
    // Health reports NOT_SERVING before the listener closes, so that balancers stop sending first.
    let stop_listening = CancellationToken::new();
    let serving = http(sockets, router, server.grace, stop_listening.clone());
    let stopping = async {
        stop.cancelled().await;
        health.shut_down().await;
        stop_listening.cancel();
        Ok(())
    };
    tokio::try_join!(serving, stopping).map(|_| ())
}
