//! A service with one route: `GET /` responds with "hello".

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use clap::Parser;
use spoor_telemetry::{
    Telemetry, TelemetrySettings,
    serve::{GRACE, ListenAddresses, Server},
};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    listen: ListenAddresses,
}

// Adds a child to the request's span.
#[tracing::instrument]
async fn hello() -> &'static str {
    "hello\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    options.listen.or_loopback(8090, 9490);
    let telemetry = Telemetry::start(TelemetrySettings::from_env()?)?;
    let shutdown = CancellationToken::new();
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                shutdown.cancel();
            }
        }
    });
    let server = Server::bind(options.listen, telemetry.clone(), shutdown)?;
    let router = Router::new().route("/", get(hello));
    server.serve_http(router, GRACE).await?;
    telemetry.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
