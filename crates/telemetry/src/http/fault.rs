//! The answer to a request that was made to fail.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

/// 500, as a problem document.
///
/// Source: RFC 9457.
pub(super) fn response() -> Response<Body> {
    const PROBLEM: &str = r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"injected fault"}"#;
    let mut response = Response::new(Body::from(PROBLEM));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
