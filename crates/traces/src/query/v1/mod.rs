//! Jaeger's first query API, which most tools speak: `/api/services`, `/api/traces` and so on.

mod envelope;
mod json;
mod search;

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    extract::{Path, Query, State},
    response::Response,
    routing::get,
};
use http::StatusCode;
use serde::Serialize;

use envelope::Envelope;
pub use envelope::Fault;

use super::{
    go,
    parameters::{self, Parameters},
    response::{self, INTERNAL},
};
use crate::{
    Store, StoredTrace, TraceId,
    dependencies::{Dependency, dependencies},
    kind, service,
};

type Pairs = Query<Vec<(String, String)>>;

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The routes below `/api`.
pub fn routes() -> Router<Store> {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operation_names))
        .route("/api/operations", get(operations))
        .route("/api/traces", get(find))
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", get(call_counts))
}

async fn services(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    answer(&Parameters(pairs), move || {
        let services = service::names(&store);
        let total = services.len();
        Ok(Envelope::of(services).total(total))
    })
    .await
}

async fn operation_names(
    State(store): State<Store>,
    Path(service): Path<String>,
    Query(pairs): Pairs,
) -> Response {
    answer(&Parameters(pairs), move || {
        let operations = kind::operations(&store, &service, None);
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

async fn operations(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    let parameters = Parameters(pairs);
    let service = parameters.text("service");
    let wanted = parameters.text("spanKind");
    answer(&parameters, move || {
        let service = service.ok_or_else(search::service_required)?;
        let operations = kind::operations(&store, &service, wanted.as_deref());
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

async fn find(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    let parameters = Parameters(pairs);
    let wanted = search::parse(&parameters, parameters::now());
    answer(&parameters, move || {
        let search::Wanted { what, raw } = wanted.map_err(bad_request)?;
        let mut missing = Vec::new();
        let found = match what {
            search::What::Matching(search) => store.search(&search),
            search::What::Ids(ids) => {
                let mut found = Vec::new();
                for id in ids {
                    match store.trace(id) {
                        Some(trace) => found.push(trace),
                        None => missing.push(Fault::not_found(None, id.to_string())),
                    }
                }
                found
            }
        };
        let traces: Vec<_> = found.iter().map(|trace| converted(trace, raw)).collect();
        Ok(Envelope::of(traces).errors(missing))
    })
    .await
}

async fn trace(
    State(store): State<Store>,
    Path(id): Path<String>,
    Query(pairs): Pairs,
) -> Response {
    let parameters = Parameters(pairs);
    let checked = check_trace_parameters(&parameters);
    answer(&parameters, move || {
        let id: TraceId = id
            .parse()
            .map_err(|error| bad_request(format!("cannot parse trace ID {id:?}: {error}")))?;
        let raw = checked.map_err(bad_request)?;
        let not_found = || Fault::not_found(Some(StatusCode::NOT_FOUND), id.to_string());
        let trace = store.trace(id).ok_or_else(not_found)?;
        Ok(Envelope::of([converted(&trace, raw)]))
    })
    .await
}

/// The time window is a hint for stores that are split by time; it only has to be well formed.
fn check_trace_parameters(parameters: &Parameters) -> Result<bool, String> {
    parameters.time("start", MICROSECOND)?;
    parameters.time("end", MICROSECOND)?;
    Ok(parameters.parsed("raw", go::boolean)?.unwrap_or(false))
}

async fn call_counts(State(store): State<Store>, Query(pairs): Pairs) -> Response {
    let parameters = Parameters(pairs);
    let window = dependency_window(&parameters);
    let service = parameters.text("service");
    answer(&parameters, move || {
        let (start, end) = window.map_err(bad_request)?;
        let mut found = dependencies(&store, start, end);
        if let Some(service) = service {
            let involves = |link: &Dependency| link.parent == service || link.child == service;
            found.retain(involves);
        }
        Ok(Envelope::of(found))
    })
    .await
}

fn dependency_window(parameters: &Parameters) -> Result<(u64, u64), String> {
    let end = parameters.time("endTs", MILLISECOND)?;
    let end = end.unwrap_or_else(parameters::now);
    let lookback = parameters.time("lookback", MILLISECOND)?;
    let lookback = lookback.unwrap_or(parameters::nanos(DAY));
    Ok((end.saturating_sub(lookback), end))
}

fn converted(trace: &StoredTrace, raw: bool) -> json::Trace {
    json::trace(trace.id.to_string(), trace.decode(), raw)
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
