//! service-a: the edge. It takes requests over HTTP and lets service-b do the work.

mod edge;
mod failure;
mod query;

use std::{net::SocketAddr, time::Duration};

use spoor_proto::spoor::ab::v1::service_b_client::ServiceBClient;
use spoor_telemetry::{
    Telemetry, duration,
    grpc::{Channel, PeerUrl},
    serve::{GRACE, Ports, ServeError},
};
use tokio_util::sync::CancellationToken;

use edge::Edge;

/// service-b behind the layer that traces each call.
type ServiceB = ServiceBClient<Channel>;

/// What can be set about service-a.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens for HTTP; port 0 takes any free one.
    #[arg(
        long,
        env = "SPOOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,
    /// Where it listens for /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "SPOOR_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9464"
    )]
    pub ops_listen: SocketAddr,
    /// Where service-b is, such as http://127.0.0.1:9001; it may come later.
    #[arg(
        long,
        env = "SPOOR_SERVICE_B_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9001"
    )]
    pub service_b: PeerUrl,
    /// How long a request may take, such as 5s, before it is given up.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration::parse_deadline
    )]
    pub deadline: Duration,
}

/// service-a with its ports taken.
#[derive(Debug)]
pub struct ServiceA {
    args: Args,
    /// Where it listens.
    pub ports: Ports,
}

/// Runs service-a until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// A port that can't be had, or requests cut off in the end.
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    ServiceA::bind(args)
        .await?
        .serve(&telemetry, shutdown)
        .await
}

impl ServiceA {
    /// Takes its ports.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the port that can't be had.
    pub async fn bind(args: Args) -> Result<Self, ServeError> {
        let ports = Ports::take(args.listen, args.ops_listen).await?;
        Ok(Self { args, ports })
    }

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// As [`Ports::serve_http`].
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Args {
            service_b,
            deadline,
            ..
        } = self.args;
        let edge = Edge {
            service_b: ServiceBClient::new(telemetry.grpc_channel(&service_b)),
            deadline,
        };
        self.ports
            .serve_http(edge.router(), deadline + GRACE, telemetry, shutdown)
            .await
    }
}
