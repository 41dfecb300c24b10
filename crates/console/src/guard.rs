//! The check of requests that may change something.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri::Authority};
use maud::html;
use spoor_runtime::LogLimit;

use crate::{
    console::Console,
    layout::{Section, Site},
};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The reason that a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("this console is read-only; restart it without that setting to change something")]
    ReadOnly,
    #[error(
        "the request comes from another site; only the console's own pages may change something"
    )]
    OtherOrigin,
    #[error(
        "the request has neither Origin nor Sec-Fetch-Site; use a current browser, or `spoor` or \
         `kubectl` instead of the console"
    )]
    NoOrigin,
}

/// Refuses requests that may change something, unless they come from a page of the console.
pub(crate) async fn protect(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let uri = request.uri();
    // A trace from a file is only shown.
    let is_refused = console.is_read_only() && uri.path() != "/import";
    match check(is_refused, request.headers(), uri) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(&console, uri, refusal),
    }
}

/// Checks where a request comes from.
///
/// `Host` is compared with `Origin` only: both have the name of a page that makes its name resolve to
/// this machine. `spoor_runtime::Listener` refuses such requests.
fn check(is_read_only: bool, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    if is_read_only {
        return Err(Refusal::ReadOnly);
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let has_neither =
        !headers.contains_key(SEC_FETCH_SITE) && !headers.contains_key(header::ORIGIN);
    if has_neither {
        return Err(Refusal::NoOrigin);
    }
    let is_own = sites.all(|site| site == "same-origin" || site == "none")
        && origins.all(|origin| is_own_origin(origin, headers, uri));
    is_own.then_some(()).ok_or(Refusal::OtherOrigin)
}

fn is_own_origin(origin: &HeaderValue, headers: &HeaderMap, uri: &Uri) -> bool {
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.strip_prefix("http://"));
    let host = headers.get(header::HOST).map(HeaderValue::to_str);
    // HTTP/2 has the host in `:authority`, which hyper puts into the URI.
    let host = host.map_or_else(|| uri.authority().map(Authority::as_str), Result::ok);
    matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

fn refused(console: &Console, uri: &Uri, refusal: Refusal) -> Response {
    static WARNINGS: LogLimit = LogLimit::new();
    if let Some(suppressed) = WARNINGS.admit() {
        tracing::warn!(%refusal, suppressed, "refused a request that may change something");
    }
    let message = html! { p { "Nothing was changed: " (refusal) "." } };
    let site = Site::of(console, uri);
    let page = site.notice(Section::at(uri), "Refused", "Request refused", message);
    (StatusCode::FORBIDDEN, page).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{sync::Arc, time::Duration};

    use axum::body::Body;
    use spoor_runtime::{Listener, Sockets};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt;

    use super::*;
    use crate::{console::ConsoleSettings, fake::FakeBackend};

    const OWN: (&str, &str) = ("origin", "http://localhost:16686");
    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
    const OTHER_ORIGIN: Result<(), Refusal> = Err(Refusal::OtherOrigin);

    #[rstest::rstest]
    #[case(&[OWN, SAME], Ok(()))]
    #[case(&[OWN], Ok(()))]
    #[case(&[SAME], Ok(()))]
    #[case(&[("sec-fetch-site", "none")], Ok(()))]
    #[case(&[("origin", "http://LOCALHOST:16686")], Ok(()))]
    #[case(&[], Err(Refusal::NoOrigin))]
    #[case(&[OWN, ("sec-fetch-site", "cross-site")], OTHER_ORIGIN)]
    #[case(&[OWN, ("sec-fetch-site", "same-site")], OTHER_ORIGIN)]
    #[case(&[OWN, ("origin", "http://evil.example")], OTHER_ORIGIN)]
    #[case(&[("origin", "http://evil.example"), SAME], OTHER_ORIGIN)]
    #[case(&[("origin", "http://localhost:8080")], OTHER_ORIGIN)]
    #[case(&[("origin", "https://localhost:16686")], OTHER_ORIGIN)]
    #[case(&[("origin", "null"), SAME], OTHER_ORIGIN)]
    fn only_own_pages_may_write(
        #[case] sent: &[(&'static str, &'static str)],
        #[case] expected: Result<(), Refusal>,
    ) {
        let headers = headers("localhost:16686", sent);
        let uri = Uri::from_static("/policies/apply");
        assert_eq!(check(false, &headers, &uri), expected);
        assert_eq!(check(true, &headers, &uri), Err(Refusal::ReadOnly));
    }

    #[test]
    fn origin_must_be_the_host_of_the_request() {
        let rebound = headers("evil.example:16686", &[OWN, SAME]);
        let uri = Uri::from_static("/policies/apply");
        assert_eq!(check(false, &rebound, &uri), OTHER_ORIGIN);
        let http2 = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(OWN.1))]);
        let uri = Uri::from_static("http://localhost:16686/policies/apply");
        assert_eq!(check(false, &http2, &uri), Ok(()));
    }

    #[rstest::rstest]
    #[case("GET", StatusCode::NOT_FOUND)]
    #[case("HEAD", StatusCode::NOT_FOUND)]
    #[case("POST", StatusCode::FORBIDDEN)]
    #[case("DELETE", StatusCode::FORBIDDEN)]
    #[case("OPTIONS", StatusCode::FORBIDDEN)]
    #[tokio::test]
    async fn every_route_is_protected(#[case] method: &str, #[case] expected: StatusCode) {
        let backend = Arc::new(FakeBackend::default());
        let console = Console::new(backend, ConsoleSettings { is_read_only: true });
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = Uri::from_static("/nowhere");
        *request.headers_mut() = headers("localhost:16686", &[OWN, SAME]);
        let response = console.router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected);
    }

    /// For a browser, a page whose name resolves to this machine has the console's origin.
    #[tokio::test]
    async fn rebound_host_is_refused() {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = sockets.local_addr().unwrap();
        let backend = Arc::new(FakeBackend::default());
        let console = Console::new(backend, ConsoleSettings::default());
        let (stop, grace) = (CancellationToken::new(), Duration::from_secs(5));
        let listener = Listener::new(sockets, console.router());
        let serving = tokio::spawn(listener.serve(grace, stop.clone()));
        let request = "POST /policies/apply HTTP/1.1\r\nHost: evil.example\r\n\
            Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n\
            Content-Length: 0\r\nConnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 403"), "{response}");
        assert!(response.contains("is not a loopback name"), "{response}");
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    fn headers(host: &'static str, sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }
}
