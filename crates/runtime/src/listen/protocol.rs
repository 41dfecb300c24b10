//! HTTP and gRPC on one port.

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use tonic::Status;
use tower::{ServiceExt, service_fn};

use super::refusal::is_grpc;

/// Passes gRPC requests, recognised by their content type, to one router and all others to another,
/// so that both report unknown paths in their own protocol.
pub fn by_protocol(http: Router, grpc: Router) -> Router {
    let dispatch = service_fn(move |request: Request| {
        let router = if is_grpc(request.headers()) {
            grpc.clone()
        } else {
            http.clone()
        };
        async move { router.oneshot(request).await }
    });
    Router::new().fallback_service(dispatch)
}

/// Responds to requests for services that a port does not have. `served` describes those that it
/// has.
pub fn grpc_fallback(router: Router, served: &'static str) -> Router {
    router.fallback_service(service_fn(move |request: Request| {
        let path = request.uri().path();
        let message = format!("{path} is not served on this port; {served}");
        let response: Response = if is_grpc(request.headers()) {
            let status = Status::unimplemented(message);
            status.into_http::<tonic::body::Body>().map(Body::new)
        } else {
            (http::StatusCode::NOT_FOUND, message + "\n").into_response()
        };
        async move { Ok::<_, Infallible>(response) }
    }))
}
