//! The edge: one route, which calls service-b.

use std::time::Duration;

use axum::{Json, Router, extract::State, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::{
    grpc::within,
    http::{Problem, QueryParameters},
    trace_id,
};

use super::{ServiceB, failure, query::Query};

/// The state of the handlers.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) service_b: ServiceB,
    pub(super) deadline: Duration,
}

/// The response body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    answered_by: &'static str,
    waited_millis: u32,
    /// A decimal string, since JavaScript numbers cannot represent it exactly.
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl Edge {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/", get(handle))
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "the only path is /"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "/ supports GET and HEAD")
            })
            .with_state(self)
    }
}

async fn handle(
    State(edge): State<Edge>,
    QueryParameters(query): QueryParameters<Query>,
) -> Result<Json<Reply>, Problem> {
    let request = query
        .into_request()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error))?;
    let mut service_b = edge.service_b;
    let work = async |request| service_b.work(request).await;
    let reply = within(edge.deadline, request, work)
        .await
        .map_err(|status| failure::to_problem(&status))?;
    Ok(Json(Reply {
        answered_by: "service-b",
        waited_millis: reply.waited_millis,
        result: reply.result.to_string(),
        trace_id: trace_id().map(|id| id.to_string()),
    }))
}
