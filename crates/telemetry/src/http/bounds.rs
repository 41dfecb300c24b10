//! The bounds of an HTTP edge: concurrent requests, body size, and time.

use std::{error::Error, time::Duration};

use axum::{
    Router,
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use spoor_runtime::Problem;
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer};

use super::rest::read_on;

/// The bounds of an edge.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests in flight; more are refused at once.
    pub at_once: usize,
    /// The longest body.
    pub body_bytes: usize,
    /// The longest duration of a request, including the reading of its body.
    pub deadline: Duration,
}

/// The router within these bounds; what has no route or another method gets a problem document.
/// Add all routes first.
pub fn bounded(router: Router, bounds: Bounds) -> Router {
    let Bounds {
        at_once,
        body_bytes,
        deadline,
    } = bounds;
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_overload| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
        }))
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(at_once));
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "nothing is served at this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not accept the request's method",
            )
        })
        // The last layer is outermost: excess requests are refused before any of their body is
        // read, and the deadline covers reading it.
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(middleware::from_fn(read_on))
        .layer(middleware::from_fn_with_state(deadline, give_up))
        .layer(limits)
}

async fn give_up(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(deadline, next.run(request))
        .await
        .unwrap_or_else(|elapsed| {
            tracing::error!(error = &elapsed as &dyn Error, "no answer in time");
            let detail = format!("the request took longer than {deadline:?}");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
        })
}
