//! Jaeger's v3 query API over HTTP, which responds with OTLP/JSON.

mod json;
mod search;

use std::fmt;

use axum::{
    Json, Router,
    response::{IntoResponse, Response},
    routing::any,
};
use http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use spoor_proto::jaeger::api_v3::{
    DependenciesResponse, FindTraceSummariesResponse, GetOperationsResponse, GetServicesResponse,
    Operation,
};

use json::V3Traces;
pub use json::to_otlp_json;

use super::{
    Queries, TraceQueryError,
    api::{ApiRequest, get},
    grpc_queries::dependency,
    summary,
};
use crate::{InvalidTraceId, TraceId, dependencies, kind, service};

/// The routes below `/api/v3`.
pub fn routes(queries: &Queries) -> Router<Queries> {
    let dependencies = get(dependencies).with_state(queries.aggregates());
    let find = get(find).with_state(queries.searches());
    let summaries = get(summaries).with_state(queries.searches());
    Router::new()
        .route("/api/v3/services", get(services))
        .route("/api/v3/operations", get(operations))
        .route("/api/v3/traces", find)
        .route("/api/v3/traces/{id}", get(trace))
        .route("/api/v3/trace-summaries", summaries)
        .route("/api/v3/dependencies", dependencies)
        // Without these, v1 would respond in its format.
        .route("/api/v3", any(unknown))
        .route("/api/v3/", any(unknown))
        .route("/api/v3/{*path}", any(unknown))
        .method_not_allowed_fallback(async || {
            V3Error::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here")
        })
}

async fn unknown() -> V3Error {
    V3Error::new(StatusCode::NOT_FOUND, "unknown API path")
}

/// An error in the format of gRPC-Gateway.
#[derive(Debug)]
pub struct V3Error {
    status: StatusCode,
    message: String,
}

impl V3Error {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for V3Error {
    fn into_response(self) -> Response {
        let code = self.status.as_u16();
        let body = json!({ "error": { "httpCode": code, "message": self.message } });
        (self.status, Json(body)).into_response()
    }
}

impl From<TraceQueryError> for V3Error {
    fn from(error: TraceQueryError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

/// A message without a status describes an invalid parameter.
impl From<String> for V3Error {
    fn from(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

fn services(request: ApiRequest) -> Result<GetServicesResponse, V3Error> {
    let services = service::names(&request.reader)?;
    Ok(GetServicesResponse { services })
}

fn operations(request: ApiRequest) -> Result<GetOperationsResponse, V3Error> {
    let service = request.parameters.get("service").unwrap_or_default();
    let kind = request.parameters.first_of(&["spanKind", "span_kind"]);
    let found = service::operations(&request.reader, service, kind.map(|(_, name)| name))?;
    let mut operations: Vec<_> = found.into_iter().map(Operation::from).collect();
    for operation in &mut operations {
        // OTLP allows receivers to treat an unspecified kind as internal.
        if operation.span_kind.is_empty() {
            kind::name(SpanKind::Internal).clone_into(&mut operation.span_kind);
        }
    }
    Ok(GetOperationsResponse { operations })
}

fn find(request: ApiRequest) -> Result<V3Traces, V3Error> {
    let (search, raw) = search::parse(&request.parameters)?;
    let ids = request.reader.find(&search)?;
    traces(request, ids, raw)
}

fn trace(request: ApiRequest) -> Result<V3Traces, V3Error> {
    let id = request.path.as_deref().map_err(malformed)?;
    let id: TraceId = id.parse().map_err(malformed::<InvalidTraceId>)?;
    let raw = search::is_raw(&request.parameters)?;
    // Looked up here to determine the status; the response reads it again.
    let found = request.reader.trace(id)?.map(|trace| trace.id);
    traces(request, Vec::from_iter(found), raw)
}

fn malformed<E: fmt::Display>(error: E) -> String {
    format!("malformed parameter trace_id: {error}")
}

fn summaries(request: ApiRequest) -> Result<FindTraceSummariesResponse, V3Error> {
    let (search, _) = search::parse(&request.parameters)?;
    let summaries = summary::summaries(&request.reader, &search)?;
    Ok(FindTraceSummariesResponse { summaries })
}

fn dependencies(request: ApiRequest) -> Result<DependenciesResponse, V3Error> {
    let (start, end) = search::dependency_window(&request.parameters)?;
    // The format cannot report the traces that were left out.
    let found = dependencies::dependencies(&request.reader, start, end)?.calls;
    Ok(DependenciesResponse {
        dependencies: found.into_iter().map(dependency).collect(),
    })
}

fn traces(request: ApiRequest, ids: Vec<TraceId>, raw: bool) -> Result<V3Traces, V3Error> {
    // As Jaeger's gateway does, even for a search.
    if ids.is_empty() {
        return Err(V3Error::new(StatusCode::NOT_FOUND, "No traces found"));
    }
    Ok(V3Traces::new(request, ids, raw))
}
