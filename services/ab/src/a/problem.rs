//! Failures as RFC 9457 has them, each with the trace that shows it.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use spoor_telemetry::trace_id;
use tonic::{Code, Status};

/// Why a request got no answer, as `application/problem+json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Unknown").to_owned(),
            status,
            detail: detail.into(),
            trace_id: trace_id().map(|id| id.to_string()),
        }
    }

    /// service-b's failure, as whoever called service-a should see it.
    pub(super) fn of_service_b(status: &Status) -> Self {
        let message = status.message();
        match status.code() {
            Code::InvalidArgument => Self::new(StatusCode::BAD_REQUEST, message),
            Code::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service-b can't be reached",
            ),
            Code::DeadlineExceeded | Code::Cancelled => Self::late(),
            Code::ResourceExhausted => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("service-b: {message}"),
            ),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("service-b: {message}"),
            ),
        }
    }

    /// The deadline passed.
    pub(super) fn late() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "service-b took longer than the request may",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings and a number: there is nothing in it that JSON can't say.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Code::Internal, 500)]
    #[case(Code::Unknown, 500)]
    #[case(Code::Unavailable, 503)]
    #[case(Code::ResourceExhausted, 503)]
    #[case(Code::DeadlineExceeded, 504)]
    #[case(Code::InvalidArgument, 400)]
    fn statuses(#[case] code: Code, #[case] status: u16) {
        assert_eq!(
            Problem::of_service_b(&Status::new(code, "no"))
                .status
                .as_u16(),
            status
        );
    }
}
