//! A simulated marketplace with its own latency, error rate and rate limit.

mod limit;
mod listings;
mod search;

use parking_lot::Mutex;
use spoor_policy::Probability;
use spoor_proto::{DESCRIPTORS, spoor::marketplace::v1::marketplace_server::MarketplaceServer};
use spoor_telemetry::{
    duration::DurationRange,
    serve::{Grpc, MAX_SMALL_MESSAGE_BYTES, Program, ServeError, Server},
};

use limit::TokenBucket;
use search::Search;

pub use limit::{InvalidRateLimit, RateLimit};

/// The settings of a marketplace.
#[derive(clap::Args, Clone, Debug)]
pub struct MarketplaceArgs {
    /// Name of the marketplace, which determines the IDs and prices of its offers
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_NAME",
        value_name = "NAME",
        default_value = "attic"
    )]
    pub name: String,
    /// Latency of a search, such as 250ms, or uniformly distributed in a range such as 100ms..500ms
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_LATENCY",
        value_name = "RANGE",
        default_value = "50ms..150ms"
    )]
    pub latency: DurationRange,
    /// Share of searches that fail, such as 20%
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_ERROR_RATE",
        value_name = "PERCENT",
        default_value = "0%"
    )]
    pub error_rate: Probability,
    /// Maximum number of searches per second, such as 3, or none for no limit
    #[arg(
        long,
        env = "SPOOR_MARKETPLACE_RATE_LIMIT",
        value_name = "NUMBER",
        default_value = "none"
    )]
    pub rate_limit: RateLimit,
}

impl Program for MarketplaceArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let search = Search {
            bucket: Mutex::new(TokenBucket::new(self.rate_limit)),
            settings: self,
        };
        let service = MarketplaceServer::new(search);
        let service = service.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES);
        server.serve_grpc(Grpc::new(service, DESCRIPTORS)).await
    }
}
