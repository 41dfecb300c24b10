//! Responses of the listener itself, in the request's protocol.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tonic::{Code, Status};

use crate::Problem;

/// The reason why the listener responds in place of the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestRefusal {
    Busy,
    OverBudget,
    BodyTimeout { seconds: u64 },
    Deadline,
    Host(String),
}

impl RequestRefusal {
    /// The response.
    pub(super) fn respond(&self, is_grpc: bool) -> Response {
        if is_grpc {
            let status = Status::new(self.code(), self.detail());
            return status.into_http::<tonic::body::Body>().map(Body::new);
        }
        Problem::new(self.status(), self.detail()).into_response()
    }

    fn detail(&self) -> String {
        match self {
            Self::Busy => "too many requests at the same time; try again later".to_owned(),
            Self::OverBudget => {
                "too many bytes are being received at the same time; try again later".to_owned()
            }
            Self::BodyTimeout { seconds } => {
                format!("the request's body did not arrive within {seconds} s")
            }
            Self::Deadline => "the caller's deadline (grpc-timeout) has passed".to_owned(),
            Self::Host(host) => format!(
                "host {host:?} is not a loopback name of this machine; use http://127.0.0.1 or \
                 http://localhost"
            ),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Busy | Self::OverBudget => StatusCode::SERVICE_UNAVAILABLE,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Host(_) => StatusCode::FORBIDDEN,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Busy | Self::OverBudget => Code::Unavailable,
            Self::BodyTimeout { .. } | Self::Deadline => Code::DeadlineExceeded,
            Self::Host(_) => Code::PermissionDenied,
        }
    }
}

/// Returns whether a request is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| {
        let rest = kind.as_bytes().strip_prefix(b"application/grpc");
        // `application/grpc-web` is another protocol, which no port here speaks.
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
