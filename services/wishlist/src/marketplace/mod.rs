//! A marketplace that stands in for a real one: it has its own pace, failures and limit.

mod limit;
mod listings;
mod search;

use spoor_policy::Probability;
use spoor_proto::{
    DESCRIPTORS,
    spoor::marketplace::v1::marketplace_server::{MarketplaceServer, SERVICE_NAME},
};
use spoor_telemetry::{
    Telemetry,
    duration::DurationRange,
    serve::{GRACE, Grpc, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use search::Search;

pub use limit::{InvalidRateLimit, RateLimit};

/// What can be set about a marketplace.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// What it is called: its offers' ids and prices follow from it.
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_NAME",
        value_name = "NAME",
        default_value = "attic"
    )]
    pub name: String,
    /// How long a search takes: 250ms, or evenly between 100ms..500ms.
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_LATENCY",
        value_name = "RANGE",
        default_value = "50ms..150ms"
    )]
    pub latency: DurationRange,
    /// The share of searches that fail, such as 20%.
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_ERROR_RATE",
        value_name = "PERCENT",
        default_value = "0%"
    )]
    pub error_rate: Probability,
    /// The most searches a second, such as 3; none takes all.
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_RATE_LIMIT",
        value_name = "NUMBER",
        default_value = "none"
    )]
    pub rate_limit: RateLimit,
}

impl Program for Args {
    type Error = ServeError;

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let search = Search::new(self.name, self.latency, self.error_rate, self.rate_limit);
        let server = Grpc {
            routes: Routes::new(MarketplaceServer::new(search)),
            services: vec![SERVICE_NAME],
            descriptors: DESCRIPTORS,
            grace: GRACE,
        };
        ports.serve_grpc(server, telemetry, shutdown).await
    }
}
