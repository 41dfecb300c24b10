//! Errors in HTTP's form (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, problem.to_string()).into_response()
}
