//! The edge: one route, which asks service-b.

use std::time::Duration;

use axum::{
    Json, Router,
    error_handling::HandleErrorLayer,
    extract::{Query as Extracted, State, rejection::QueryRejection},
    routing::get,
};
use http::StatusCode;
use serde::Serialize;
use spoor_proto::spoor::ab::v1::{WorkReply, WorkRequest};
use spoor_telemetry::{http::Problem, trace_id};
use tonic::Request;
use tower::ServiceBuilder;

use super::{ServiceB, failure, query::Query};

/// What every request needs.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) service_b: ServiceB,
    pub(super) deadline: Duration,
}

/// Requests in flight; more are refused at once.
const MOST_AT_ONCE: usize = 4096;

/// What happened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    answered_by: &'static str,
    waited_millis: u32,
    /// In decimal: more than a JavaScript number holds.
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl Edge {
    pub(super) fn router(self) -> Router {
        let limits = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_overload| busy()))
            .load_shed()
            .concurrency_limit(MOST_AT_ONCE);
        Router::new()
            .route("/", get(ask).layer(limits))
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is only /"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "/ takes GET and HEAD")
            })
            .with_state(self)
    }

    async fn work(self, message: WorkRequest) -> Result<WorkReply, Problem> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        let mut service_b = self.service_b;
        // The channel's own deadline doesn't cover the time that it takes to connect.
        match tokio::time::timeout(self.deadline, service_b.work(request)).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(failure::of_service_b(&status)),
            Err(elapsed) => Err(failure::late(&elapsed)),
        }
    }
}

async fn ask(
    State(edge): State<Edge>,
    query: Result<Extracted<Query>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Extracted(query) = query?;
    let request = query
        .into_request()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let reply = edge.work(request).await?;
    Ok(Json(Answer {
        answered_by: "service-b",
        waited_millis: reply.waited_millis,
        result: reply.result.to_string(),
        trace_id: trace_id().map(|id| id.to_string()),
    }))
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
}
