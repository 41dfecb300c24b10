//! Web pages that may send spans (CORS, as the Fetch standard defines it).

use axum::{
    extract::{Request, State},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
            ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::AllowedOrigins;

/// The time that a browser caches a preflight response, in seconds.
const MAX_AGE_SECONDS: &str = "7200";

impl AllowedOrigins {
    fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Loopback => is_loopback(origin),
            Self::Listed(origins) => origins.iter().any(|it| it.eq_ignore_ascii_case(origin)),
            Self::Any => true,
        }
    }
}

fn is_loopback(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    // An IPv6 address in a URI is in brackets.
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Responds to preflight requests, and allows the page to read the response. Requests of other
/// origins are refused, since a browser sends some of them without a preflight.
pub(super) async fn check(
    State(allowed): State<AllowedOrigins>,
    request: Request,
    next: Next,
) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return next.run(request).await;
    };
    if !origin.to_str().is_ok_and(|origin| allowed.allows(origin)) {
        let message = "spans from web pages of this origin are not accepted; allow it with \
                       --otlp-origins\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    let headers = request.headers();
    let is_preflight =
        request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        let requested = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        if let Some(requested) = requested {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested);
        }
        let post = HeaderValue::from_static("POST");
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, post);
        let max_age = HeaderValue::from_static(MAX_AGE_SECONDS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, max_age);
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    // A cache must not return this response to a page of another origin.
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("http://localhost:3000", true)]
    #[case("https://127.0.0.1", true)]
    #[case("http://[::1]:8080", true)]
    #[case("http://localhost.evil.example", false)]
    #[case("https://evil.example", false)]
    #[case("null", false)]
    fn only_local_pages_are_allowed_by_default(#[case] origin: &str, #[case] allowed: bool) {
        assert_eq!(AllowedOrigins::default().allows(origin), allowed);
    }
}
