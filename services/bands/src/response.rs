//! The response format and limits that both services share.

use std::time::Duration;

use axum::{Json, Router, routing::get};
use jiff::{Timestamp, Unit};
use serde::{Serialize, Serializer};
use spoor_telemetry::http::{Bounds, bounded};
use uuid::Uuid;

/// A response about an item with an ID.
#[derive(Debug, Serialize)]
pub(crate) struct Response<T> {
    pub(crate) uuid: Uuid,
    /// The time at which the item was created.
    #[serde(serialize_with = "as_text")]
    pub(crate) created: Timestamp,
    /// The time at which the response was complete.
    #[serde(serialize_with = "as_text")]
    pub(crate) succeeded_at: Timestamp,
    pub(crate) result: T,
}

impl<T> Response<T> {
    /// Creates a response that is complete now.
    pub(crate) fn new(uuid: Uuid, created: Timestamp, result: T) -> Self {
        Self {
            uuid,
            created,
            succeeded_at: Timestamp::now(),
            result,
        }
    }
}

/// Adds the health route and the limits. `deadline` is the maximum time for a request.
pub(crate) fn with_health_and_limits(router: Router, deadline: Duration) -> Router {
    let health = get(async || Json(serde_json::json!({"status": "ok"})));
    let bounds = Bounds {
        // All routes are GET, which has no body.
        max_body_bytes: 0,
        deadline,
    };
    bounded(router.route("/health", health), bounds)
}

/// Serializes a time as ISO 8601 in UTC, rounded to milliseconds.
fn as_text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    // Rounding fails only at the end of the range of `Timestamp`.
    to.collect_str(&time.round(Unit::Millisecond).unwrap_or(*time))
}
