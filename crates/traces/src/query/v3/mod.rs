//! Jaeger's third query API over HTTP, which answers in OTLP's JSON.

mod json;
mod search;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, span::SpanKind};
use serde::Serialize;

pub use search::DEFAULT_DEPTH;

use super::{
    parameters::Parameters,
    response::{self, INTERNAL},
};
use crate::{Store, StoredTrace, TraceId, kind, service};

type Pairs = Query<Vec<(String, String)>>;

/// The routes below `/api/v3`.
pub fn routes() -> Router<Store> {
    Router::new()
        .route("/api/v3/services", get(services))
        .route("/api/v3/operations", get(operations))
        .route("/api/v3/traces", get(find))
        .route("/api/v3/traces/{id}", get(trace))
}

/// An error in the form of gRPC's gateway.
#[derive(Debug, Serialize)]
pub struct Fault {
    error: Details,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    http_code: u16,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            error: Details {
                http_code: status.as_u16(),
                message: message.into(),
            },
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.http_code);
        (status.unwrap_or(INTERNAL), Json(self)).into_response()
    }
}

#[derive(Serialize)]
struct Services {
    services: Vec<String>,
}

async fn services(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    answer(&Parameters(pairs), move || {
        Ok(Services {
            services: service::names(&store),
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

async fn operations(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    let parameters = Parameters(pairs);
    let service = parameters.text("service").unwrap_or_default();
    let wanted = parameters.any(&["spanKind", "span_kind"]);
    let wanted = wanted.map(|(_, word)| word.to_owned());
    answer(&parameters, move || {
        let found = kind::operations(&store, &service, wanted.as_deref());
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

async fn find(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    let parameters = Parameters(pairs);
    let search = search::parse(&parameters);
    answer(&parameters, move || {
        let found = store.search(&search.map_err(bad_request)?);
        let batches = found
            .iter()
            .flat_map(StoredTrace::decode_corrected)
            .collect();
        result(batches, "No traces found")
    })
    .await
}

async fn trace(
    State(store): State<Store>,
    Path(id): Path<String>,
    Query(pairs): Pairs,
) -> Response {
    let parameters = Parameters(pairs);
    let checked = search::check_trace(&parameters);
    answer(&parameters, move || {
        let id: TraceId = id
            .parse()
            .map_err(|error| bad_request(format!("malformed parameter trace_id: {error}")))?;
        checked.map_err(bad_request)?;
        let batches = store.trace(id).map(|trace| trace.decode_corrected());
        result(batches.unwrap_or_default(), "No traces found")
    })
    .await
}

fn result(batches: Vec<ResourceSpans>, none: &str) -> Result<json::Traces, Fault> {
    if batches.is_empty() {
        return Err(Fault::new(StatusCode::NOT_FOUND, none));
    }
    Ok(json::Traces::new(batches))
}

fn bad_request(message: String) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, message)
}

async fn answer<T: Serialize>(
    parameters: &Parameters,
    query: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Response {
    let internal = |message| Fault::new(INTERNAL, message);
    response::json(parameters.pretty(), query, internal).await
}
