//! The operations port: `/metrics`, `/healthz` and `/readyz`.

mod format;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{HeaderMap, StatusCode, header};

use crate::Telemetry;
use format::Format;

/// The three routes.
///
/// `/healthz` answers 200 while the process can answer at all, `/readyz` only between
/// [`Telemetry::set_ready`] with `true` and the start of the shutdown.
pub fn router(telemetry: &Telemetry) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(telemetry.clone())
}

async fn metrics(State(telemetry): State<Telemetry>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::asked_for(&headers);
    match telemetry.metrics().text() {
        Ok(text) => {
            let kind = [
                (header::CONTENT_TYPE, format.content_type()),
                (header::VARY, "accept"),
            ];
            (kind, format.write(text)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "can't write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(telemetry): State<Telemetry>) -> impl IntoResponse {
    if telemetry.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}
