//! The four doors: open once there is something to serve, until the role ends.

use std::{net::SocketAddr, time::Duration};

use spoor_control::Control;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::settings::Listen;
use crate::serve::{BindError, Port, Speaks, bind};

/// Streams at once, each a connection.
const MOST_STREAMS: usize = 20_000;
/// At each of the other doors, whose clients come, ask and may stay.
const MOST_CALLERS: usize = 4_000;
/// Collectors are few.
const MOST_COLLECTORS: usize = 256;
/// Answers in flight at the end have this long.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Where the doors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// Jaeger's remote sampling over HTTP.
    pub http: SocketAddr,
    /// Jaeger's remote sampling over gRPC.
    pub grpc: SocketAddr,
    /// Spoor's own stream, over TLS.
    pub stream: SocketAddr,
    /// OTLP metrics over HTTP, from Collectors.
    pub metrics: SocketAddr,
}

/// Opens the doors; they close at `stop`.
///
/// # Errors
/// The port that can't be had.
pub(super) async fn open(
    control: &Control,
    listen: &Listen,
    tls: TlsAcceptor,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Doors, BindError> {
    let (http, at_http) = bind(listen.http, "--listen-http").await?;
    let (grpc, at_grpc) = bind(listen.grpc, "--listen-grpc").await?;
    let (stream, at_stream) = bind(listen.stream, "--listen-stream").await?;
    let (metrics, at_metrics) = bind(listen.metrics, "--listen-metrics").await?;
    let ports = [
        Port {
            listener: http,
            router: control.sampling_http(),
            speaks: Speaks::Http,
            most_connections: MOST_CALLERS,
        },
        Port {
            listener: grpc,
            router: Routes::new(control.sampling_grpc()).into_axum_router(),
            speaks: Speaks::Grpc,
            most_connections: MOST_CALLERS,
        },
        Port {
            listener: stream,
            router: Routes::new(control.policy_stream()).into_axum_router(),
            speaks: Speaks::GrpcOverTls(tls),
            most_connections: MOST_STREAMS,
        },
        Port {
            listener: metrics,
            router: control.metrics_http(),
            speaks: Speaks::Http,
            most_connections: MOST_COLLECTORS,
        },
    ];
    for port in ports {
        tasks.spawn(port.serve(GRACE, stop.clone()));
    }
    let doors = Doors {
        http: at_http,
        grpc: at_grpc,
        stream: at_stream,
        metrics: at_metrics,
    };
    tracing::info!(?doors, "open");
    Ok(doors)
}
