//! service-b: waits as a database would, computes, and fails as often as it is told to.

mod calc;
mod wait;
mod work;

use std::{io, net::SocketAddr};

use spoor_policy::Probability;
use spoor_proto::{
    DESCRIPTORS,
    spoor::ab::v1::service_b_server::{SERVICE_NAME, ServiceBServer},
};
use spoor_telemetry::{
    Telemetry,
    serve::{self, Grpc, ServeError},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::GRACE;
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

/// Why service-b doesn't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port, or the serving itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The descriptors that it would show.
    #[error("gRPC reflection can't be offered")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// service-b with its ports taken.
#[derive(Debug)]
pub struct ServiceB {
    args: Args,
    listener: TcpListener,
    ops: TcpListener,
}

/// Runs service-b until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    ServiceB::bind(args)
        .await?
        .serve(&telemetry, shutdown)
        .await
}

impl ServiceB {
    /// Takes its ports.
    ///
    /// # Errors
    /// [`RunError::Serve`] names the port that can't be had.
    pub async fn bind(args: Args) -> Result<Self, RunError> {
        let listener = serve::bind(args.listen, "--listen").await?;
        let ops = serve::bind(args.ops_listen, "--ops-listen").await?;
        Ok(Self {
            args,
            listener,
            ops,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where its metrics and health are.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .map_err(RunError::Reflection)?;
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
            listener: self.listener,
            routes: Routes::new(ServiceBServer::new(work)).add_service(reflection),
            services: vec![SERVICE_NAME],
            grace: GRACE,
        };
        let serving = serve::grpc(server, telemetry, shutdown.clone());
        Ok(serve::with_ops(serving, self.ops, telemetry, shutdown).await?)
    }
}
