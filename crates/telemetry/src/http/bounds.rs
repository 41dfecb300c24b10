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

use super::drain::drain_unread_body;

/// The bounds of an edge.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most requests in flight. More are refused immediately.
    pub max_in_flight: usize,
    /// The maximum length of a request's body.
    pub max_body_bytes: usize,
    /// The maximum duration of a request, including the reading of its body.
    pub deadline: Duration,
}

/// Limits a router. Requests with an unknown path or method get a problem document. Add all routes
/// first.
pub fn bounded(router: Router, bounds: Bounds) -> Router {
    let Bounds {
        max_in_flight,
        max_body_bytes,
        deadline,
    } = bounds;
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_overload| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
        }))
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(max_in_flight));
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no resource at this path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not accept the request's method",
            )
        })
        // The last layer is outermost: excess requests are refused before any of their body is
        // read, and the deadline covers reading it.
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(middleware::from_fn(drain_unread_body))
        .layer(middleware::from_fn_with_state(deadline, with_deadline))
        .layer(limits)
}

async fn with_deadline(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(deadline, next.run(request))
        .await
        .unwrap_or_else(|elapsed| {
            tracing::error!(error = &elapsed as &dyn Error, "no response in time");
            let detail = format!("the request took longer than {deadline:?}");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).into_response()
        })
}
