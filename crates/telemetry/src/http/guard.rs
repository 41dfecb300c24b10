//! Security headers and checks for services with a web page.

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use spoor_runtime::{LogLimit, Problem, page_headers};

/// Protects a router that browsers use. Cross-origin requests are refused unless they only read, and
/// the content security policy applies to the router's own pages.
pub fn guarded(router: Router, content_security_policy: &'static str) -> Router {
    let headers = middleware::from_fn_with_state(content_security_policy, add_security_headers);
    router
        .layer(middleware::from_fn(require_same_origin))
        .layer(headers)
}

/// Refuses requests that a page of another origin makes a browser send, unless they only read.
///
/// Browsers report in `Sec-Fetch-Site` whether a request has the server's own origin; older ones name
/// its origin in `Origin`. A client that sends neither is not a browser, so no user's cookies or
/// network position can be abused.
async fn require_same_origin(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_same_origin(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    static WARNINGS: LogLimit = LogLimit::new();
    if let Some(suppressed) = WARNINGS.admit() {
        tracing::warn!(suppressed, "refused a cross-origin request");
    }
    Problem::new(StatusCode::FORBIDDEN, "cross-origin requests are refused").into_response()
}

/// Adds headers that make browsers restrict the page.
async fn add_security_headers(
    State(content_security_policy): State<&'static str>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let all = response.headers_mut();
    // "no-referrer" would turn the Origin of our own forms into "null".
    all.extend(page_headers(content_security_policy, "same-origin"));
    all.entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    match (headers.get("sec-fetch-site"), headers.get(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin" || site == "none",
        // Browsers without Fetch Metadata send at least this with requests that change something.
        (None, Some(origin)) => is_own_origin(origin, headers, uri),
        (None, None) => true,
    }
}

fn is_own_origin(origin: &HeaderValue, headers: &HeaderMap, uri: &Uri) -> bool {
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str));
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(&[], true)]
    #[case(&[("sec-fetch-site", "same-origin")], true)]
    #[case(&[("sec-fetch-site", "none")], true)]
    #[case(&[("sec-fetch-site", "same-site")], false)]
    #[case(&[("sec-fetch-site", "cross-site")], false)]
    #[case(&[("sec-fetch-site", "cross-site"), ("origin", "http://wishes:8081")], false)]
    #[case(&[("origin", "http://wishes:8081")], true)]
    #[case(&[("origin", "http://wishes:8082")], false)]
    #[case(&[("origin", "http://evil.example")], false)]
    #[case(&[("origin", "null")], false)]
    fn accepts_only_own_origin(#[case] sent: &[(&'static str, &'static str)], #[case] own: bool) {
        let mut headers = HeaderMap::from_iter([(header::HOST, "wishes:8081".parse().unwrap())]);
        for (name, value) in sent {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        assert_eq!(is_same_origin(&headers, &Uri::from_static("/wishes")), own);
    }
}
