//! What both services answer with.

use std::time::Duration;

use axum::{Json, Router, routing::get};
use jiff::{Timestamp, Unit};
use serde::{Serialize, Serializer};
use spoor_telemetry::http::{Bounds, bounded};

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

/// The routes that both have, and what they take; `deadline` is what an answer may take.
pub(crate) fn served(router: Router, deadline: Duration) -> Router {
    let health = get(async || Json(Health { status: "ok" }));
    let bounds = Bounds {
        at_once: MOST_AT_ONCE,
        body_bytes: 0,
        deadline,
    };
    bounded(router.route("/health", health), bounds)
}

/// ISO 8601 in UTC, to the millisecond.
fn as_text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&time.round(Unit::Millisecond).unwrap_or(*time))
}
