//! Jaeger's third query API over HTTP, which responds in OTLP's JSON.

mod json;
mod search;
mod summary;

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde::Serialize;

pub use search::{DEFAULT_DEPTH, FILTER_REFUSED};

use super::{
    Queries, TraceQueryError,
    limits::Reader,
    parameters::Parameters,
    response::{self, Buffer},
};
use crate::{InvalidTraceId, TraceId, dependencies, kind, service};

/// The routes below `/api/v3`.
pub fn routes() -> Router<Queries> {
    Router::new()
        .route("/api/v3/services", get(services))
        .route("/api/v3/operations", get(operations))
        .route("/api/v3/traces", get(find))
        .route("/api/v3/traces/{id}", get(trace))
        .route("/api/v3/trace-summaries", get(summaries))
        .route("/api/v3/dependencies", get(dependencies))
        // Without these, the first version would respond in its own form.
        .route("/api/v3", any(unknown))
        .route("/api/v3/", any(unknown))
        .route("/api/v3/{*path}", any(unknown))
        .method_not_allowed_fallback(async || {
            V3Error::new(StatusCode::METHOD_NOT_ALLOWED, "the API is read with GET")
        })
}

async fn unknown() -> V3Error {
    V3Error::new(StatusCode::NOT_FOUND, "there is no such API path")
}

/// An error in the form of gRPC's gateway.
#[derive(Debug, Serialize)]
pub struct V3Error {
    error: Details,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    http_code: u16,
    message: String,
}

impl V3Error {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            error: Details {
                http_code: status.as_u16(),
                message: message.into(),
            },
        }
    }
}

impl IntoResponse for V3Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.http_code);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}

impl From<TraceQueryError> for V3Error {
    fn from(error: TraceQueryError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

#[derive(Serialize)]
struct Services {
    services: Vec<String>,
}

async fn services(State(queries): State<Queries>, parameters: Parameters) -> Response {
    response::json::<_, V3Error>(&queries, &parameters, move |reader, _| {
        Ok(Services {
            services: service::names(reader.store()),
        })
    })
    .await
}

#[derive(Serialize)]
struct Operations {
    operations: Vec<Operation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    name: String,
    span_kind: &'static str,
}

async fn operations(State(queries): State<Queries>, parameters: Parameters) -> Response {
    let service = parameters.text("service").unwrap_or_default();
    let wanted = parameters.any(&["spanKind", "span_kind"]);
    let wanted = wanted.map(|(_, word)| word.to_owned());
    response::json::<_, V3Error>(&queries, &parameters, move |reader, _| {
        let found = service::operations(reader.store(), &service, wanted.as_deref());
        let operations = found.into_iter().map(|operation| Operation {
            // An unspecified kind means internal: OTLP says to assume so.
            span_kind: match operation.kind {
                SpanKind::Unspecified => kind::word(SpanKind::Internal),
                kind => kind::word(kind),
            },
            name: operation.name,
        });
        Ok(Operations {
            operations: operations.collect(),
        })
    })
    .await
}

async fn find(State(queries): State<Queries>, parameters: Parameters) -> Response {
    let search = search::parse(&parameters);
    response::json::<_, V3Error>(&queries, &parameters, move |reader, buffer| {
        let (search, raw) = search.map_err(bad_request)?;
        result(reader, buffer, reader.find(&search), raw)
    })
    .await
}

async fn trace(
    State(queries): State<Queries>,
    id: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Response {
    let raw = search::is_raw(&parameters);
    response::json::<_, V3Error>(&queries, &parameters, move |reader, buffer| {
        let malformed = |error| bad_request(format!("malformed parameter trace_id: {error}"));
        let Path(id) = id.map_err(|error| malformed(error.body_text()))?;
        let id: TraceId = id
            .parse()
            .map_err(|error: InvalidTraceId| malformed(error.to_string()))?;
        let raw = raw.map_err(bad_request)?;
        // Looked up here to determine the status; the response reads it again.
        let found = reader.trace(id)?.map(|trace| trace.id);
        result(reader, buffer, Vec::from_iter(found), raw)
    })
    .await
}

async fn summaries(State(queries): State<Queries>, parameters: Parameters) -> Response {
    let search = search::parse(&parameters);
    response::json::<_, V3Error>(&queries, &parameters, move |reader, _| {
        let (search, _) = search.map_err(bad_request)?;
        let found = super::summary::summaries(reader, &search)?;
        Ok(summary::Summaries {
            summaries: found.into_iter().map(Into::into).collect(),
        })
    })
    .await
}

async fn dependencies(State(queries): State<Queries>, parameters: Parameters) -> Response {
    let window = search::dependency_window(&parameters);
    response::json::<_, V3Error>(&queries.aggregates(), &parameters, move |reader, _| {
        let (start, end) = window.map_err(bad_request)?;
        // The format has no place for the traces that were left out.
        let found = dependencies::dependencies(reader, start, end)?.calls;
        Ok(summary::Dependencies {
            dependencies: found.into_iter().map(Into::into).collect(),
        })
    })
    .await
}

fn result(
    reader: &Reader,
    buffer: &Buffer,
    ids: Vec<TraceId>,
    raw: bool,
) -> Result<json::V3Traces, V3Error> {
    // As Jaeger's gateway does, even for a search.
    if ids.is_empty() {
        return Err(V3Error::new(StatusCode::NOT_FOUND, "No traces found"));
    }
    Ok(json::V3Traces {
        reader: reader.clone(),
        buffer: buffer.clone(),
        ids,
        raw,
    })
}

fn bad_request(message: String) -> V3Error {
    V3Error::new(StatusCode::BAD_REQUEST, message)
}
