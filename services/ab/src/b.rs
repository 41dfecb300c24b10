//! service-b: simulates a database query, computes, and fails at a configured rate.

mod calc;
mod work;

use spoor_policy::Probability;
use spoor_proto::{DESCRIPTORS, spoor::ab::v1::service_b_server::ServiceBServer};
use spoor_telemetry::{
    duration::DurationRange,
    serve::{Grpc, MAX_SMALL_MESSAGE_BYTES, Program, ServeError, Server},
};

use calc::Calculator;
use work::Work;

pub use calc::{InvalidRounds, Rounds};

/// The settings of service-b.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceBArgs {
    /// Time that a request waits unless it sets its own, such as 250ms, or uniformly distributed in
    /// a range such as 100ms..500ms
    #[arg(
        long,
        env = "SPOOR_B_WAIT",
        value_name = "RANGE",
        default_value = "100ms..500ms"
    )]
    pub wait: DurationRange,
    /// Rounds of heavy_calc for a request that sets none, each of about a microsecond
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

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let work = Work {
            settings: self,
            calculator: Calculator::new(),
        };
        let service = ServiceBServer::new(work).max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES);
        server.serve_grpc(Grpc::new(service, DESCRIPTORS)).await
    }
}
