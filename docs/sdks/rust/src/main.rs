//! A service with one route: `GET /` answers "hello".

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use clap::Parser;
use spoor_telemetry::{
    Telemetry, TelemetrySettings,
    serve::{self, GRACE, ListenAddresses, Program, ServeError, ServicePorts},
};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Hello {
    #[command(flatten)]
    listen: ListenAddresses,
}

impl Program for Hello {
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
        let router = Router::new().route("/", get(hello));
        ports.serve_http(router, GRACE, telemetry, shutdown).await
    }
}

// Adds a child to the request's span.
#[tracing::instrument]
async fn hello() -> &'static str {
    "hello\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut program = Hello::parse();
    program.listen.or_loopback(8090, 9490);
    let settings = TelemetrySettings::from_env()?;
    let telemetry = Telemetry::start(settings)?;
    let shutdown = CancellationToken::new();
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                shutdown.cancel();
            }
        }
    });
    serve::run(program, telemetry.clone(), shutdown).await?;
    telemetry.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
