//! Responses of the listener itself, in the request's protocol.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tonic::{Code, Status};

use crate::Problem;

/// The reason why the listener responds in place of the handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestRefusal {
    #[error("too many requests at the same time; try again later")]
    Busy,
    #[error("too many bytes are being received at the same time; try again later")]
    OverBudget,
    #[error("the request's body did not arrive within {seconds} s")]
    BodyTimeout { seconds: u64 },
    #[error("the caller's deadline (grpc-timeout) has passed")]
    Deadline,
    #[error(
        "host {0:?} is not a loopback name of this machine; use http://127.0.0.1 or http://localhost"
    )]
    Host(String),
}

impl RequestRefusal {
    /// The response.
    pub(super) fn respond(&self, is_grpc: bool) -> Response {
        let (status, code) = match self {
            Self::Busy | Self::OverBudget => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::Deadline => (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
            Self::Host(_) => (StatusCode::FORBIDDEN, Code::PermissionDenied),
        };
        if is_grpc {
            let status = Status::new(code, self.to_string());
            return status.into_http::<tonic::body::Body>().map(Body::new);
        }
        Problem::new(status, self.to_string()).into_response()
    }
}

/// Returns whether a request is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| {
        let rest = kind.as_bytes().strip_prefix(b"application/grpc");
        // `application/grpc-web` is another protocol, which no port here serves.
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::HeaderValue;

    use super::*;

    #[rstest::rstest]
    #[case("application/grpc", true)]
    #[case("application/grpc+proto", true)]
    #[case("application/grpc; charset=utf-8", true)]
    #[case("application/grpc-web", false)]
    #[case("application/json", false)]
    fn recognises_grpc_by_content_type(#[case] kind: &'static str, #[case] expected: bool) {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
        assert_eq!(is_grpc(&HeaderMap::from_iter([kind])), expected);
    }

    #[test]
    fn a_grpc_refusal_has_a_status() {
        let response = RequestRefusal::Busy.respond(true);
        assert_eq!(response.status(), StatusCode::OK);
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::Unavailable);
    }
}
