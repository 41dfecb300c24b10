//! bands: the edge. A band and what reviews has of it, over HTTP.

mod catalogue;
mod edge;
mod reviews;

use std::time::Duration;

use spoor_telemetry::{
    PeerUrl, Telemetry, duration,
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

use crate::{Id, answer::served};
use reviews::Reviews;

/// What can be set about bands.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where reviews is, such as http://127.0.0.1:9007; it may come later.
    #[arg(
        long,
        env = "SPOOR_REVIEWS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9007"
    )]
    pub reviews: PeerUrl,
    /// How long reviews may take, such as 1s, before a band is answered without them.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = duration::parse_deadline
    )]
    pub deadline: Duration,
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
        let reviews = Reviews(telemetry.http_peer(&self.reviews, self.deadline));
        // reviews' own deadline comes first, and a band without them is an answer.
        let deadline = 2 * self.deadline;
        let router = served(edge::router(reviews), deadline);
        ports
            .serve_http(router, deadline + GRACE, telemetry, shutdown)
            .await
    }
}

/// The ids of the bands that always exist.
pub fn known() -> impl Iterator<Item = Id> {
    catalogue::ALL.iter().map(|band| band.id)
}
