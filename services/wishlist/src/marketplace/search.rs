//! `spoor.marketplace.v1.Marketplace`.

use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use spoor_proto::spoor::marketplace::v1::{
    SearchReply, SearchRequest, marketplace_server::Marketplace,
};
use spoor_telemetry::faults::simulate_failure;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{MarketplaceArgs, limit::TokenBucket, listings};
use crate::WishName;

/// The gRPC service.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) settings: MarketplaceArgs,
    pub(super) bucket: Mutex<TokenBucket>,
}

#[tonic::async_trait]
impl Marketplace for Search {
    async fn search(
        &self,
        request: Request<SearchRequest>,
    ) -> Result<Response<SearchReply>, Status> {
        let settings = &self.settings;
        let query = WishName::new(&request.get_ref().query)
            .map_err(|error| Status::invalid_argument(format!("query: {error}")))?;
        // Before the latency: a real server also refuses such requests without doing the work.
        let admitted = self.bucket.lock().acquire(Instant::now());
        admitted.map_err(|wait| {
            let limit = settings.rate_limit;
            let message = format!("rate limit of {limit} per second exceeded");
            let details = ErrorDetails::with_retry_info(Some(wait));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        })?;
        tokio::time::sleep(settings.latency.pick()).await;
        // UNAVAILABLE, so that clients retry.
        simulate_failure(settings.error_rate)
            .map_err(|failure| Status::unavailable(failure.to_string()))?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let offers = listings::of(&settings.name, &query, now);
        Ok(Response::new(SearchReply { offers }))
    }
}
