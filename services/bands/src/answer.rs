//! What both services answer with.

use std::convert::Infallible;

use axum::{
    Json, Router,
    error_handling::HandleErrorLayer,
    routing::{MethodRouter, get},
};
use http::StatusCode;
use jiff::{Timestamp, Unit};
use serde::{Serialize, Serializer};
use spoor_telemetry::http::Problem;
use tower::ServiceBuilder;

use crate::Id;

/// Requests in flight; more are refused at once.
const MOST_AT_ONCE: usize = 1024;

/// Something that has an id, and when it came about.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<T> {
    pub(crate) uuid: Id,
    /// When it was entered.
    #[serde(serialize_with = "as_text")]
    pub(crate) created: Timestamp,
    /// When this answer was complete.
    #[serde(serialize_with = "as_text")]
    pub(crate) succeeded_at: Timestamp,
    pub(crate) result: T,
}

impl<T> Answer<T> {
    /// Complete now.
    pub(crate) fn now(uuid: Id, created: Timestamp, result: T) -> Self {
        Self {
            uuid,
            created,
            succeeded_at: Timestamp::now(),
            result,
        }
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The routes that both have, and how they refuse what is not there or too much.
pub(crate) fn routed<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let health: MethodRouter<S, Infallible> = get(async || Json(Health { status: "ok" }));
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_overload| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
        }))
        .load_shed()
        .concurrency_limit(MOST_AT_ONCE);
    router
        .layer(limits)
        .route("/health", health)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this takes GET and HEAD")
        })
}

/// ISO 8601 in UTC, to the millisecond.
fn as_text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&time.round(Unit::Millisecond).unwrap_or(*time))
}
