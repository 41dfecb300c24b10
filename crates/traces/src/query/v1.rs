//! Jaeger's first query API, which most tools speak: `/api/services`, `/api/traces` and so on.

mod envelope;
pub(super) mod json;
mod search;
mod traces;

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::get,
};
use http::StatusCode;
use serde::Serialize;

pub use envelope::V1Error;
use envelope::{Envelope, V1Errors};
use traces::V1Traces;

use super::{
    Queries, go,
    parameters::{self, Parameters},
    response,
};
use crate::{
    TraceId,
    dependencies::{Dependencies, dependencies},
    kind, service,
};

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The routes below `/api`.
pub fn routes() -> Router<Queries> {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operation_names))
        .route("/api/operations", get(operations))
        .route("/api/traces", get(find))
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", get(call_counts))
        .method_not_allowed_fallback(async || {
            V1Error::new(StatusCode::METHOD_NOT_ALLOWED, "the API is read with GET")
        })
}

async fn services(State(queries): State<Queries>, parameters: Parameters) -> Response {
    response::json::<_, V1Error>(&queries, &parameters, move |reader, _| {
        let services = service::names(reader.store());
        let total = services.len();
        Ok(Envelope::of(services).total(total))
    })
    .await
}

async fn operation_names(
    State(queries): State<Queries>,
    service: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Response {
    response::json::<_, V1Error>(&queries, &parameters, move |reader, _| {
        let Path(service) = service.map_err(|error| bad_request(error.body_text()))?;
        let operations = service::operations(reader.store(), &service, None);
        let names: BTreeSet<String> = operations.into_iter().map(|found| found.name).collect();
        let total = names.len();
        Ok(Envelope::of(names).total(total))
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    name: String,
    span_kind: &'static str,
}

async fn operations(State(queries): State<Queries>, parameters: Parameters) -> Response {
    let service = parameters.text("service");
    let wanted = parameters.text("spanKind");
    response::json::<_, V1Error>(&queries, &parameters, move |reader, _| {
        let service = service.ok_or_else(search::service_required)?;
        let operations = service::operations(reader.store(), &service, wanted.as_deref());
        let found: Vec<Operation> = operations
            .into_iter()
            .map(|operation| Operation {
                span_kind: kind::word(operation.kind),
                name: operation.name,
            })
            .collect();
        let total = found.len();
        Ok(Envelope::of(found).total(total))
    })
    .await
}

async fn find(State(queries): State<Queries>, parameters: Parameters) -> Response {
    // Determined now, since the query may wait for its turn.
    let wanted = search::parse(&parameters, parameters::now());
    response::json::<_, V1Error>(&queries, &parameters, move |reader, buffer| {
        let search::Wanted { what, raw } = wanted.map_err(bad_request)?;
        let errors = V1Errors::default();
        let ids = match what {
            search::What::Matching(search) => reader.find(&search),
            search::What::Ids(ids) => ids,
        };
        let traces = V1Traces {
            reader: reader.clone(),
            buffer: buffer.clone(),
            errors: errors.clone(),
            ids,
            raw,
        };
        Ok(Envelope::of(traces).errors(errors))
    })
    .await
}

async fn trace(
    State(queries): State<Queries>,
    id: Result<Path<String>, PathRejection>,
    parameters: Parameters,
) -> Response {
    let checked = check_trace_parameters(&parameters);
    response::json::<_, V1Error>(&queries, &parameters, move |reader, _| {
        let Path(id) = id.map_err(|error| bad_request(error.body_text()))?;
        let id: TraceId = id
            .parse()
            .map_err(|error| bad_request(format!("cannot parse trace ID {id:?}: {error}")))?;
        let raw = checked.map_err(bad_request)?;
        let not_found = || V1Error::not_found(Some(StatusCode::NOT_FOUND), id.to_string());
        let trace = reader.trace(id)?.ok_or_else(not_found)?;
        Ok(Envelope::of([json::trace(&trace, raw)]))
    })
    .await
}

/// The time window is a hint for stores that are split by time; it only has to be well formed.
fn check_trace_parameters(parameters: &Parameters) -> Result<bool, String> {
    parameters.time("start", MICROSECOND)?;
    parameters.time("end", MICROSECOND)?;
    Ok(parameters.parsed("raw", go::boolean)?.unwrap_or(false))
}

async fn call_counts(State(queries): State<Queries>, parameters: Parameters) -> Response {
    let window = dependency_window(&parameters);
    let service = parameters.text("service");
    response::json::<_, V1Error>(&queries.aggregates(), &parameters, move |reader, _| {
        let (start, end) = window.map_err(bad_request)?;
        let Dependencies {
            mut calls,
            left_out,
        } = dependencies(reader, start, end)?;
        if let Some(service) = service {
            calls.retain(|link| link.parent == service || link.child == service);
        }
        let errors = V1Errors::default();
        if left_out > 0 {
            let message = format!("{left_out} traces are too large to be counted");
            errors.push(V1Error::missing(message, None));
        }
        Ok(Envelope::of(calls).errors(errors))
    })
    .await
}

fn dependency_window(parameters: &Parameters) -> Result<(u64, u64), String> {
    let end = parameters.time("endTs", MILLISECOND)?;
    let end = end.unwrap_or_else(parameters::now);
    // A number of milliseconds here, and a duration with a unit in a search.
    let lookback = parameters.time("lookback", MILLISECOND)?;
    let lookback = lookback.unwrap_or(parameters::nanos(DAY));
    Ok((end.saturating_sub(lookback), end))
}

fn bad_request(message: String) -> V1Error {
    V1Error::new(StatusCode::BAD_REQUEST, message)
}
