//! Jaeger's remote sampling over HTTP.

use std::net::SocketAddr;

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, RawQuery, State},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CONTENT_TYPE, USER_AGENT},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use spoor_policy::ServiceName;

use crate::{Control, doors::stock::Answer, metrics::Door, pollers::Asker};

impl Control {
    /// `GET /sampling?service=NAME`, and the same at `/` and, as in Jaeger's Collector, at
    /// `/api/sampling`. Serve it with
    /// `into_make_service_with_connect_info::<SocketAddr>()`, or its clients are not told apart.
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
) -> Result<Json<Answer>, Problem> {
    let service = service(query.as_deref().unwrap_or_default())?;
    let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    let asker = peer.map(|Extension(ConnectInfo(peer))| Asker::new(peer, user_agent));
    let namespace = control
        .0
        .settings
        .identify
        .polling(asker.as_ref().map(Asker::address), &service)
        .inspect_err(|denied| control.0.metrics.refused(Door::Http, denied.reason()))
        .map_err(|denied| Problem::new(denied.status_code(), &denied.to_string()))?;
    let answer = control
        .answer(namespace, service, asker.as_ref())
        .ok_or_else(|| {
            let detail = "no policies are known yet: ask again in a moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
    control.0.metrics.polled(Door::Http);
    Ok(Json(answer))
}

/// The one `service` of a query.
fn service(query: &str) -> Result<ServiceName, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let parameters = uri
        .ok()
        .and_then(|uri| {
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
                .ok()
                .map(|query| query.0)
        })
        .ok_or_else(|| bad("the query is not name=value pairs in UTF-8"))?;
    let mut services = parameters
        .iter()
        .filter(|(name, _)| name == "service")
        .map(|(_, service)| service);
    match (services.next(), services.next()) {
        (Some(service), None) => {
            ServiceName::new(service).map_err(|error| bad(&format!("parameter 'service' {error}")))
        }
        _ => Err(bad(
            "parameter 'service' must be there exactly once: /sampling?service=NAME",
        )),
    }
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is /sampling?service=NAME")
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "ask with GET")
}

/// RFC 9457.
#[derive(Debug, Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: &str) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.to_owned(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let content_type = [(CONTENT_TYPE, "application/problem+json")];
        (status, content_type, Json(self)).into_response()
    }
}
