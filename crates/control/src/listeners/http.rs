//! Jaeger's remote sampling over HTTP.

use std::net::SocketAddr;

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header::USER_AGENT},
    routing::get,
};
use spoor_policy::ServiceName;
use spoor_runtime::Problem;

use crate::{
    control::Control, metrics::Endpoint, pollers::PollSource, stock_strategy::StockStrategy,
};

impl Control {
    /// A router for `GET /sampling?service=NAME`, which is also at `/` and, as in Jaeger's
    /// Collector, at `/api/sampling`.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`. Without addresses,
    /// clients cannot be told apart.
    pub fn sampling_http(&self) -> Router {
        Router::new()
            .route("/sampling", get(sampling))
            .route("/api/sampling", get(sampling))
            .route("/", get(sampling))
            .fallback(not_found)
            .method_not_allowed_fallback(not_allowed)
            .with_state(self.clone())
    }
}

async fn sampling(
    State(control): State<Control>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<StockStrategy>, Problem> {
    let service = service(query.as_deref().unwrap_or_default())?;
    let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    let source = peer.map(|Extension(ConnectInfo(peer))| PollSource::new(peer, user_agent));
    let namespace = control
        .settings()
        .identify
        .polling(source.as_ref().map(PollSource::address), &service)
        .inspect_err(|denied| control.metrics().refused(Endpoint::Http, denied.reason()))
        .map_err(|denied| Problem::new(denied.status_code(), denied.to_string()))?;
    let strategy = control
        .poll(namespace, service, source.as_ref())
        .ok_or_else(|| {
            let detail = "no policies are published yet; ask again in a moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
    control.metrics().polled(Endpoint::Http);
    Ok(Json(strategy))
}

/// Reads the `service` of a query.
fn service(query: &str) -> Result<ServiceName, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    // axum parses queries of URIs only. A list of pairs rather than a map shows duplicates.
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let parameters = uri
        .ok()
        .and_then(|uri| {
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
                .ok()
                .map(|query| query.0)
        })
        .ok_or_else(|| bad("query must be name=value pairs in UTF-8"))?;
    let mut services = parameters
        .iter()
        .filter(|(name, _)| name == "service")
        .map(|(_, service)| service);
    match (services.next(), services.next()) {
        (Some(service), None) => {
            ServiceName::new(service).map_err(|error| bad(&format!("parameter 'service' {error}")))
        }
        _ => Err(bad(
            "query must have exactly one parameter 'service': /sampling?service=NAME",
        )),
    }
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no such path; use /sampling?service=NAME",
    )
}

async fn not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method not allowed; use GET",
    )
}
