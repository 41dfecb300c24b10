//! The operations port: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use spoor_runtime::{Limits, Listener, Sockets};

/// The most connections. Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;

/// Returns the reason why a role is not ready, if it is not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The listener of the operations port.
pub fn listener(sockets: Sockets, registry: Registry, readiness: Readiness) -> Listener {
    Listener::new(sockets, router(registry, readiness)).limits(Limits {
        max_connections: MAX_CONNECTIONS,
        max_requests: MAX_CONNECTIONS,
        ..Limits::default()
    })
}

/// The routes of the operations port. The process is healthy as long as it answers.
pub fn router(registry: Registry, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness)
        .merge(
            Router::new()
                .route("/metrics", get(metrics))
                .with_state(Arc::new(registry)),
        )
}

async fn readyz(State(is_ready): State<Readiness>) -> Response {
    match is_ready() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot encode metrics"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
