//! bands: an edge that serves bands with their reviews over HTTP.

mod edge;
mod reviews;

use std::time::Duration;

use spoor_telemetry::{
    PeerUrl, Telemetry, duration,
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{catalogue::BANDS, response::with_limits};
use reviews::Reviews;

/// The settings of bands.
#[derive(clap::Args, Clone, Debug)]
pub struct BandsArgs {
    /// The addresses to listen on.
    #[command(flatten)]
    pub listen: Listen,
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

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let reviews = Reviews(telemetry.http_peer(&self.reviews, self.deadline));
        // The deadline for reviews passes first, so that bands are still sent, without them.
        let deadline = 2 * self.deadline;
        let router = with_limits(edge::router(reviews), deadline);
        ports
            .serve_http(router, deadline + GRACE, telemetry, shutdown)
            .await
    }
}

/// The IDs of all bands.
pub fn known() -> impl Iterator<Item = Uuid> {
    BANDS.iter().map(|band| band.id)
}
