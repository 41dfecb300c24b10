//! The edge: one route, which calls service-b.

use std::time::Duration;

use axum::{Json, Router, error_handling::HandleErrorLayer, extract::State, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::{
    grpc::within,
    http::{Problem, QueryParameters},
    trace_id,
};
use tower::ServiceBuilder;

use super::{ServiceB, failure, query::Query};

/// The state of the handlers.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) service_b: ServiceB,
    pub(super) deadline: Duration,
}

/// The most requests in progress. More are refused.
const MAX_REQUESTS: usize = 1024;

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
        // Shedding is outside the limit: further requests are refused instead of queued.
        let limits = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_overload| {
                let detail = "too many requests in progress; try again in a moment";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }))
            .load_shed()
            .concurrency_limit(MAX_REQUESTS);
        Router::new()
            .route("/", get(handle).layer(limits))
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
        .map_err(|status| failure::of_service_b(&status))?;
    Ok(Json(Reply {
        answered_by: "service-b",
        waited_millis: reply.waited_millis,
        result: reply.result.to_string(),
        trace_id: trace_id().map(|id| id.to_string()),
    }))
}
