//! Error responses over HTTP (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::trace_id;

/// An error response, as `application/problem+json`. With the status 429 or 503, it has the header
/// `Retry-After: 1`.
// Not the crate `problem_details`: its extension members are a type parameter, which would appear
// in the signature of each handler.
// In RFC 9457, the type `about:blank` means that the status identifies the failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "about:blank", rename_all = "camelCase")]
pub struct Problem {
    /// A summary of the failure. Defaults to the name of the status.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// An explanation of this failure, and what to do about it.
    pub detail: String,
    /// The errors in the submitted documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The ID of the trace of the request, sampled or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Problem {
    /// Creates a problem with the ID of the current trace.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Unknown").into(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            trace_id: trace_id().map(|id| id.to_string()),
        }
    }

    /// Sets the title.
    #[must_use]
    pub fn with_title(self, title: impl Into<Cow<'static, str>>) -> Self {
        let title = title.into();
        Self { title, ..self }
    }

    /// Sets the errors in the submitted documents.
    #[must_use]
    pub fn with_errors(self, errors: Vec<String>) -> Self {
        Self { errors, ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings and a number cannot fail to serialize.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], body).into_response();
        add_retry_after(&mut response);
        response
    }
}

/// Adds the header `Retry-After` to the response to a request that may succeed if it is sent again.
pub fn add_retry_after(response: &mut Response) {
    if matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn problem_round_trips_through_json() {
        let errors = vec!["a.yaml:1: unknown field".to_owned()];
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Problem::new(status, "1 error found")
            .with_title("Invalid policies")
            .with_errors(errors);
        let json = serde_json::to_string(&problem).unwrap();
        let expected = r#"{"type":"about:blank","title":"Invalid policies","status":422,"#
            .to_owned()
            + r#""detail":"1 error found","errors":["a.yaml:1: unknown field"]}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
    }

    #[rstest::rstest]
    #[case(StatusCode::SERVICE_UNAVAILABLE, Some("1"))]
    #[case(StatusCode::TOO_MANY_REQUESTS, Some("1"))]
    #[case(StatusCode::NOT_FOUND, None)]
    fn temporary_failures_have_retry_after(
        #[case] status: StatusCode,
        #[case] after: Option<&str>,
    ) {
        let response = Problem::new(status, "why").into_response();
        let header = response.headers().get(header::RETRY_AFTER);
        assert_eq!(header.map(|value| value.to_str().unwrap()), after);
    }
}
