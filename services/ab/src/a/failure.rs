//! Failures of service-b, as error responses of service-a.

use std::error::Error;

use http::StatusCode;
use spoor_telemetry::http::Problem;
use tonic::{Code, Status};

/// The response to an error status of service-b.
pub(super) fn to_problem(status: &Status) -> Problem {
    tracing::error!(error = status as &dyn Error, "service-b failed");
    let message = status.message();
    let from_service_b = format!("service-b: {message}");
    let (status, detail) = match status.code() {
        // service-b validates what the query passes on, so the caller is at fault.
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, message),
        Code::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "service-b cannot be reached",
        ),
        Code::DeadlineExceeded | Code::Cancelled => (
            StatusCode::GATEWAY_TIMEOUT,
            "service-b did not respond within the deadline",
        ),
        // Not 429: service-b is overloaded, and this caller need not be the reason.
        Code::ResourceExhausted => (StatusCode::SERVICE_UNAVAILABLE, &*from_service_b),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, &*from_service_b),
    };
    Problem::new(status, detail)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[rstest::rstest]
    #[case(Code::Internal, 500)]
    #[case(Code::Unknown, 500)]
    #[case(Code::Unavailable, 503)]
    #[case(Code::ResourceExhausted, 503)]
    #[case(Code::DeadlineExceeded, 504)]
    #[case(Code::InvalidArgument, 400)]
    fn codes_become_http_statuses(#[case] code: Code, #[case] status: u16) {
        let response = to_problem(&Status::new(code, "no")).into_response();
        assert_eq!(response.status().as_u16(), status);
    }
}
