//! Jaeger's remote sampling over HTTP.

use std::net::SocketAddr;

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header::USER_AGENT},
    response::{IntoResponse, Response},
    routing::get,
};
use spoor_policy::ServiceName;
use spoor_proto::jaeger::api_v2::SamplingStrategyResponse;
use spoor_runtime::Problem;

use crate::{control::Control, metrics::Endpoint, pollers::PollSource};

impl Control {
    /// A router for `GET /sampling?service=NAME`, which is also at `/` and, as in Jaeger's
    /// Collector, at `/api/sampling`.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`. Without addresses,
    /// clients are neither identified nor counted.
    pub fn sampling_http(&self) -> Router {
        Router::new()
            .route("/sampling", get(sampling))
            .route("/api/sampling", get(sampling))
            .route("/", get(sampling))
            .fallback(async || {
                let detail = "no such path; use /sampling?service=NAME";
                Problem::new(StatusCode::NOT_FOUND, detail)
            })
            .method_not_allowed_fallback(async || {
                let detail = "method not allowed; use GET";
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
            })
            .with_state(self.clone())
    }
}

async fn sampling(
    State(control): State<Control>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    query: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let service = service(query)
        .inspect_err(|_| control.metrics().count_refused(Endpoint::Http, "Malformed"))?;
    let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    let source = peer.map(|Extension(ConnectInfo(peer))| PollSource::new(peer, user_agent));
    let encode = |strategy: SamplingStrategyResponse| Json(strategy).into_response();
    let response = control.poll(Endpoint::Http, service, source, encode).await;
    response.map_err(|denied| Problem::new(denied.status_code(), denied.to_string()))
}

/// A list of pairs rather than a map, which would hide duplicates.
type Parameters = Vec<(String, String)>;

/// Reads the `service` of a query.
fn service(query: Result<Query<Parameters>, QueryRejection>) -> Result<ServiceName, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let Query(parameters) = query.map_err(|_| bad("query must be name=value pairs in UTF-8"))?;
    let mut services = parameters.iter().filter(|(name, _)| name == "service");
    match (services.next(), services.next()) {
        (Some((_, service)), None) => {
            ServiceName::new(service).map_err(|error| bad(&format!("parameter 'service' {error}")))
        }
        _ => Err(bad(
            "query must have exactly one parameter 'service': /sampling?service=NAME",
        )),
    }
}
