//! The ops port: `/metrics`, `/healthz` and `/readyz`.

mod format;

use std::fmt;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};

use crate::{Limits, Listener, Sockets};
use format::negotiate;

/// The most connections, far more than probes and scrapers need.
const MAX_CONNECTIONS: usize = 64;

/// The listener of an ops port, for a router that [`ops_router`] made.
pub fn ops_listener(sockets: impl Into<Sockets>, router: Router) -> Listener {
    Listener::new(sockets, router).limits(Limits {
        max_connections: MAX_CONNECTIONS,
        max_requests: MAX_CONNECTIONS,
        ..Limits::default()
    })
}

/// The routes of an ops port. `metrics` writes OpenMetrics, and `readiness` returns the
/// reason why the process is not ready, if it is not. The process is healthy as long as it
/// responds.
pub fn ops_router(
    metrics: impl Fn() -> Result<String, fmt::Error> + Clone + Send + Sync + 'static,
    readiness: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router {
    Router::new()
        // Independent of readiness, since the kubelet restarts a container that fails this probe.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || ready_response(readiness())))
        .route(
            "/metrics",
            get(async move |headers: HeaderMap| metrics_response(metrics(), &headers)),
        )
}

fn ready_response(readiness: Result<(), String>) -> Response {
    match readiness {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

fn metrics_response(metrics: Result<String, fmt::Error>, headers: &HeaderMap) -> Response {
    match metrics {
        Ok(text) => {
            let (content_type, text) = negotiate(headers, text);
            let headers = [
                (header::CONTENT_TYPE, content_type),
                // A cache must not serve one format to a scraper that accepts the other.
                (header::VARY, "accept"),
            ];
            (headers, text).into_response()
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "cannot encode metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
