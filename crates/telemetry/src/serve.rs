//! Serving with an end: bind, serve, and drain under a grace period.

mod connections;
mod ports;
mod program;

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::server::TcpIncoming};
use tonic_health::ServingStatus;

use crate::Telemetry;

pub use ports::Ports;
pub use program::{Bound, Listen, Program, run};

/// What requests in flight are given at a shutdown, beyond any deadline of their own.
pub const GRACE: Duration = Duration::from_secs(15);

/// gRPC calls in flight on one connection; a caller holds back what is more.
const MOST_CALLS: u32 = 4096;

/// Why there is no serving, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("can't listen on {address} (set by {setting}): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The flag or variable that sets it.
        setting: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Accepting connections failed.
    #[error("serving gRPC failed: {0}")]
    Grpc(#[source] tonic::transport::Error),
    /// The descriptors that reflection would show.
    #[error("gRPC reflection can't be offered")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// Requests were still in flight when the grace period ended.
    #[error("requests were cut off: not done within {} s of the shutdown", .grace.as_secs_f64())]
    CutOff {
        /// The grace period.
        grace: Duration,
    },
}

/// Listens on an address; `setting` is the flag or variable that it comes from, for the error.
///
/// # Errors
/// [`ServeError::Bind`].
pub async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| {
        let setting = setting.to_owned();
        ServeError::Bind {
            address,
            setting,
            source,
        }
    })
}

/// Serves HTTP/1 until `stop`, then finishes the requests in flight within `grace`. Handlers and
/// layers find the peer's address as `axum::extract::ConnectInfo<SocketAddr>`.
///
/// # Errors
/// [`ServeError::CutOff`].
pub async fn http(
    listener: TcpListener,
    router: Router,
    grace: Duration,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let serving = connections::serve(listener, router, stop.clone());
    within_grace(
        async {
            serving.await;
            Ok(())
        },
        grace,
        stop,
    )
    .await
}

/// A gRPC server: services behind the telemetry layer, with health and reflection.
#[derive(Debug)]
pub struct Grpc {
    /// The services, such as `Routes::new(ServiceBServer::new(b))`.
    pub routes: Routes,
    /// Their full names, for `grpc.health.v1.Health`, such as `spoor.ab.v1.ServiceB`.
    pub services: Vec<&'static str>,
    /// What reflection shows: a `FileDescriptorSet`, encoded.
    pub descriptors: &'static [u8],
    /// How long requests in flight have after the stop.
    pub grace: Duration,
}

/// Serves gRPC until `stop`: then health says NOT_SERVING, and the requests in flight finish
/// within the grace period.
///
/// # Errors
/// [`ServeError::Reflection`], [`ServeError::Grpc`], [`ServeError::CutOff`].
pub async fn grpc(
    listener: TcpListener,
    server: Grpc,
    telemetry: &Telemetry,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(server.descriptors)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let names: Vec<&'static str> = [""].into_iter().chain(server.services).collect();
    for name in &names {
        reporter
            .set_service_status(*name, ServingStatus::Serving)
            .await;
    }
    let stopping = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            for name in names {
                reporter
                    .set_service_status(name, ServingStatus::NotServing)
                    .await;
            }
        }
    };
    // Otherwise an answer of several frames waits for the peer's delayed acknowledgement, 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(MOST_CALLS)
        .layer(telemetry.grpc_server_layer())
        .add_routes(server.routes.add_service(health).add_service(reflection))
        .serve_with_incoming_shutdown(incoming, stopping);
    within_grace(
        async { serving.await.map_err(ServeError::Grpc) },
        server.grace,
        stop,
    )
    .await
}

async fn within_grace(
    serving: impl Future<Output = Result<(), ServeError>>,
    grace: Duration,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    tokio::select! {
        result = serving => result,
        () = async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
        } => Err(ServeError::CutOff { grace }),
    }
}
