//! service-b: waits as a database would, computes, and fails as often as it is told to.

mod calc;
mod wait;
mod work;

use std::net::SocketAddr;

use spoor_policy::Probability;
use spoor_proto::{
    DESCRIPTORS,
    spoor::ab::v1::service_b_server::{SERVICE_NAME, ServiceBServer},
};
use spoor_telemetry::{
    Telemetry,
    serve::{GRACE, Grpc, Ports, ServeError},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use calc::Calculator;
use work::Work;

pub use calc::{InvalidRounds, Rounds};
pub(crate) use wait::LONGEST as LONGEST_WAIT;
pub use wait::{InvalidWaitRange, WaitRange};

/// What can be set about service-b.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens for gRPC; port 0 takes any free one.
    #[arg(
        long,
        env = "SPOOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9001"
    )]
    pub listen: SocketAddr,
    /// Where it listens for /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "SPOOR_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9465"
    )]
    pub ops_listen: SocketAddr,
    /// How long each request waits, as for a database: 250ms, or evenly between 100ms..500ms.
    #[arg(
        long,
        env = "SPOOR_B_WAIT",
        value_name = "RANGE",
        default_value = "100ms..500ms"
    )]
    pub wait: WaitRange,
    /// Rounds of heavy_calc for each request, each of about a microsecond.
    #[arg(long, env = "SPOOR_B_CALC", value_name = "ROUNDS", default_value_t = Rounds::DEFAULT)]
    pub calc: Rounds,
    /// The share of requests that fail, such as 20%.
    #[arg(
        long,
        env = "SPOOR_B_ERROR_RATE",
        value_name = "PERCENT",
        default_value = "0%"
    )]
    pub error_rate: Probability,
}

/// service-b with its ports taken.
#[derive(Debug)]
pub struct ServiceB {
    args: Args,
    /// Where it listens.
    pub ports: Ports,
}

/// Runs service-b until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// A port that can't be had, or requests cut off in the end.
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    ServiceB::bind(args)
        .await?
        .serve(&telemetry, shutdown)
        .await
}

impl ServiceB {
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
    /// As [`Ports::serve_grpc`].
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Args {
            wait,
            calc: rounds,
            error_rate,
            ..
        } = self.args;
        let work = Work {
            wait,
            rounds,
            error_rate,
            calculator: Calculator::new(),
        };
        let server = Grpc {
            routes: Routes::new(ServiceBServer::new(work)),
            services: vec![SERVICE_NAME],
            descriptors: DESCRIPTORS,
            grace: GRACE,
        };
        self.ports.serve_grpc(server, telemetry, shutdown).await
    }
}
