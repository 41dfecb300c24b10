//! A request that has to suffer a fault.

use std::convert::Infallible;

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use opentelemetry::KeyValue;
use tower::Service;

use super::server::Exchange;
use crate::faults::Decision;

/// Waits as long as it must, then fails or is handled.
pub(super) async fn suffer<S>(
    fault: Decision,
    mut inner: S,
    request: Request<Body>,
    exchange: &Exchange,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    if let Some(delay) = fault.delay {
        let seconds = delay.as_secs_f64();
        exchange.event("fault.injected", || {
            vec![KeyValue::new("fault.delay", seconds)]
        });
        tokio::time::sleep(delay).await;
    }
    if fault.fail {
        exchange.event("fault.injected", || {
            vec![KeyValue::new("fault.error", true)]
        });
        return failure();
    }
    let Ok(response) = inner.call(request).await;
    response
}

/// 500, as a problem document.
///
/// Source: RFC 9457.
fn failure() -> Response<Body> {
    const PROBLEM: &str = r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"injected fault"}"#;
    let mut response = Response::new(Body::from(PROBLEM));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
