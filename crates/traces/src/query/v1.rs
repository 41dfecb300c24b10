//! Jaeger's v1 query API, which most tools use: `/api/services`, `/api/traces` and so on.

mod envelope;
pub(super) mod json;
mod search;
mod traces;

use std::time::Duration;

use axum::Router;
use http::StatusCode;
use spoor_proto::jaeger::{api_v2::DependencyLink, api_v3::Operation};

pub use envelope::V1Error;
use envelope::{Envelope, V1Errors};
use traces::V1Traces;

use super::{
    Queries,
    api::{ApiRequest, get},
    go, parameters,
};
use crate::{
    InvalidTraceId, TraceId,
    dependencies::{MAX_COUNTED_TRACES, dependencies},
    service,
};

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const SERVICE_REQUIRED: &str = "parameter 'service' is required";

/// The routes below `/api`.
pub fn routes(queries: &Queries) -> Router<Queries> {
    let call_counts = get(call_counts).with_state(queries.aggregates());
    let find = get(find).with_state(queries.searches());
    Router::new()
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operation_names))
        .route("/api/operations", get(operations))
        .route("/api/traces", find)
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", call_counts)
        .method_not_allowed_fallback(async || {
            V1Error::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here")
        })
}

fn services(request: ApiRequest) -> Result<Envelope<Vec<String>>, V1Error> {
    Ok(Envelope::list(service::names(&request.reader)?))
}

fn operation_names(request: ApiRequest) -> Result<Envelope<Vec<String>>, V1Error> {
    let names = service::operation_names(&request.reader, &request.path?)?;
    Ok(Envelope::list(names))
}

fn operations(request: ApiRequest) -> Result<Envelope<Vec<Operation>>, V1Error> {
    let service = request.parameters.get("service");
    let service = service.ok_or_else(|| SERVICE_REQUIRED.to_owned())?;
    let kind = request.parameters.get("spanKind");
    let found = service::operations(&request.reader, service, kind)?;
    let operations = found.into_iter().map(Operation::from).collect();
    Ok(Envelope::list(operations))
}

fn find(request: ApiRequest) -> Result<Envelope<V1Traces>, V1Error> {
    let (ids, search, raw) = search::parse(&request.parameters, request.received_at)?;
    let errors = V1Errors::default();
    let traces = V1Traces {
        ids: match ids.is_empty() {
            true => request.reader.find(&search)?,
            false => ids,
        },
        request,
        errors: errors.clone(),
        raw,
    };
    Ok(Envelope::of(traces).errors(errors))
}

fn trace(request: ApiRequest) -> Result<Envelope<[json::Trace; 1]>, V1Error> {
    let id = request.path?;
    let malformed = |error: InvalidTraceId| format!("cannot parse trace ID {id:?}: {error}");
    let id: TraceId = id.parse().map_err(malformed)?;
    // The time window is a hint for stores that are partitioned by time; it is only validated.
    request.parameters.time("start", MICROSECOND)?;
    request.parameters.time("end", MICROSECOND)?;
    let raw = request.parameters.parsed("raw", go::boolean)?;
    let not_found = || V1Error::not_found(StatusCode::NOT_FOUND.as_u16(), id);
    let trace = request.reader.trace(id)?.ok_or_else(not_found)?;
    Ok(Envelope::of([json::trace(&trace, raw.unwrap_or(false))]))
}

fn call_counts(request: ApiRequest) -> Result<Envelope<Vec<DependencyLink>>, V1Error> {
    let parameters = &request.parameters;
    let end = parameters.time("endTs", MILLISECOND)?;
    let end = end.unwrap_or(request.received_at);
    // A number of milliseconds here, and a duration with a unit in a search.
    let lookback = parameters.time("lookback", MILLISECOND)?;
    let start = end.saturating_sub(lookback.unwrap_or(parameters::nanos(DAY)));
    let mut found = dependencies(&request.reader, start, end)?;
    if let Some(service) = parameters.get("service") {
        let calls = &mut found.calls;
        calls.retain(|link| link.parent == service || link.child == service);
    }
    let errors = V1Errors::default();
    if found.left_out > 0 {
        let message = format!("traces too large to be counted: {}", found.left_out);
        errors.push(V1Error::missing(message, None));
    }
    if found.is_partial {
        let message = format!("calls are counted in the newest {MAX_COUNTED_TRACES} traces only");
        errors.push(V1Error::missing(message, None));
    }
    Ok(Envelope::of(found.calls).errors(errors))
}
