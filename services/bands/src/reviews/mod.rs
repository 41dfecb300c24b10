//! reviews: what was written about the bands, over HTTP.

use axum::Router;
use spoor_telemetry::{
    Telemetry,
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

/// What can be set about reviews.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
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
        ports
            .serve_http(Router::new(), GRACE, telemetry, shutdown)
            .await
    }
}
