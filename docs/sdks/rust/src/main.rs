//! A service with one route: `GET /` answers "hello".

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use clap::Parser;
use spoor_telemetry::{
    Settings, Telemetry,
    serve::{self, GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Hello {
    #[command(flatten)]
    listen: Listen,
}

impl Program for Hello {
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
    let settings = Settings::from_env()?;
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
