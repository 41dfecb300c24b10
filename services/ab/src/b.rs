//! service-b: waits as if for a database, computes, and fails at a configured rate.

mod calc;
mod wait;
mod work;

use spoor_policy::Probability;
use spoor_proto::{
    DESCRIPTORS,
    spoor::ab::v1::service_b_server::{SERVICE_NAME, ServiceBServer},
};
use spoor_telemetry::{
    Telemetry,
    duration::DurationRange,
    serve::{GRACE, Grpc, ListenAddresses, Program, ServeError, ServicePorts},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use calc::Calculator;
use work::Work;

pub use calc::{InvalidRounds, Rounds};

/// The settings of service-b.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceBArgs {
    /// The addresses to listen on.
    #[command(flatten)]
    pub listen: ListenAddresses,
    /// Wait of each request, such as 250ms, or uniformly distributed in a range such as 100ms..500ms
    #[arg(
        long,
        env = "SPOOR_B_WAIT",
        value_name = "RANGE",
        default_value = "100ms..500ms"
    )]
    pub wait: DurationRange,
    /// Rounds of heavy_calc for each request, each of about a microsecond
    #[arg(long, env = "SPOOR_B_CALC", value_name = "ROUNDS", default_value_t = Rounds::DEFAULT)]
    pub calc: Rounds,
    /// Share of requests that fail, such as 20%
    #[arg(
        long,
        env = "SPOOR_B_ERROR_RATE",
        value_name = "PERCENT",
        default_value = "0%"
    )]
    pub error_rate: Probability,
}

impl Program for ServiceBArgs {
    type Error = ServeError;

    fn listen(&mut self) -> &mut ListenAddresses {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: ServicePorts,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let ServiceBArgs {
            wait,
            calc: rounds,
            error_rate,
            ..
        } = self;
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
        ports.serve_grpc(server, telemetry, shutdown).await
    }
}
