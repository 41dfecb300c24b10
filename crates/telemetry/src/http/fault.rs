//! Injects a fault into a request.

use std::convert::Infallible;

use axum::{body::Body, response::IntoResponse};
use http::{Request, Response, StatusCode};
use opentelemetry::KeyValue;
use spoor_runtime::Problem;
use tower::Service;

use super::exchange::Exchange;
use crate::faults::Decision;

/// Waits for the fault's delay, then fails the request or hands it on.
pub(super) async fn inject<S>(
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
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "injected fault").into_response();
    }
    let Ok(response) = inner.call(request).await;
    response
}
