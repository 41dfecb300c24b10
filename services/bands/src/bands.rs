//! bands: an edge that serves bands with their reviews over HTTP.

mod edge;
mod reviews;

use std::time::Duration;

use spoor_telemetry::{
    PeerUrl, duration,
    serve::{GRACE, Program, ServeError, Server},
};
use uuid::Uuid;

use crate::{catalogue::BANDS, response::with_health_and_limits};
use reviews::Reviews;

/// The settings of bands.
#[derive(clap::Args, Clone, Debug)]
pub struct BandsArgs {
    /// Address of reviews, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_REVIEWS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9007"
    )]
    pub reviews: PeerUrl,
    /// Maximum time for reviews, such as 1s, after which bands are sent without them
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = duration::parse_deadline
    )]
    pub deadline: Duration,
}

impl Program for BandsArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let reviews = Reviews(server.telemetry.http_peer(&self.reviews, self.deadline));
        // The deadline for reviews passes first, so that bands are still sent, without them.
        let deadline = 2 * self.deadline;
        let router = with_health_and_limits(edge::router(reviews), deadline);
        server.serve_http(router, deadline + GRACE).await
    }
}

/// The IDs of all bands.
pub fn ids() -> impl Iterator<Item = Uuid> {
    BANDS.iter().map(|band| band.id)
}
