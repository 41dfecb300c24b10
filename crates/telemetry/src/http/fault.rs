//! A request that has to suffer a fault.

use std::convert::Infallible;

use axum::{body::Body, response::IntoResponse};
use http::{Request, Response, StatusCode};
use opentelemetry::KeyValue;
use tower::Service;

use super::{problem::Problem, server::Exchange};
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
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "injected fault").into_response();
    }
    let Ok(response) = inner.call(request).await;
    response
}
