//! The bounds of an HTTP service on the body and the time of each request.

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use spoor_runtime::Problem;

use super::drain::drain_unread_body;

/// The bounds of a service on each request. The listener limits the number of requests.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The maximum length of a request's body.
    pub max_body_bytes: usize,
    /// The maximum time until the response to a request begins, including the reading of its body.
    pub deadline: Duration,
}

/// Limits a router. Requests with an unknown path or method get a problem document. Add all routes
/// first.
pub fn bounded(router: Router, bounds: Bounds) -> Router {
    let deadline = middleware::from_fn_with_state(bounds.deadline, with_deadline);
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no resource at this path"))
        .method_not_allowed_fallback(async || {
            let detail = "this path does not accept the request's method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        // The last layer is outermost, so the deadline covers reading the body.
        .layer(DefaultBodyLimit::max(bounds.max_body_bytes))
        .layer(middleware::from_fn(drain_unread_body))
        .layer(deadline)
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
