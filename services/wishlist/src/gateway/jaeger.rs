//! `/jaeger`: a read-only proxy to Jaeger's pages and API.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware,
    response::{Redirect, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::Limited;
use spoor_telemetry::{
    PeerUrl,
    http::{Peer, PeerCallError, Problem, StreamLimit, StreamPermit, in_turn, page_headers},
};
use tokio::time::Instant;

/// The path on this host.
const PREFIX: &str = "/jaeger";

/// The most requests in progress. To make room for another, a response whose client has stopped
/// reading is aborted.
const MAX_REQUESTS: usize = 64;
/// The longest time that a request waits until fewer are in progress.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The longest response body, which is more than any page needs.
const MAX_BODY_BYTES: usize = 64 << 20;
/// The maximum time for a response body, however slowly it is read.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The request headers that are forwarded, none of which identifies the user.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::RANGE,
];

/// The response headers that are forwarded, besides `Location`.
const RESPONSE_HEADERS: [HeaderName; 11] = [
    header::ACCEPT_RANGES,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::REFERRER_POLICY,
    header::VARY,
];

/// The policy for pages without their own. Jaeger's pages need inline scripts and styles.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; \
    script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'self'";

/// The proxy to Jaeger.
#[derive(Clone)]
pub(super) struct Jaeger {
    peer: Peer,
    address: Arc<Address>,
    requests: StreamLimit,
}

impl Jaeger {
    pub(super) fn new(peer: Peer, url: &PeerUrl) -> Self {
        Self {
            peer,
            address: Arc::new(Address::of(url)),
            requests: StreamLimit::new(MAX_REQUESTS),
        }
    }

    /// The paths at and below `/jaeger`.
    pub(super) fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new()
            .route("/jaeger", get(async || Redirect::permanent("/jaeger/")))
            .route("/jaeger/", get(forward))
            .route("/jaeger/{*path}", get(forward))
            .method_not_allowed_fallback(async || {
                let detail = "traces are read-only; use GET or HEAD";
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
            })
            // Each request uses its own connection to Jaeger, so Jaeger cannot tell that they are from one
            // client.
            .route_layer(middleware::from_fn(in_turn))
            .layer(middleware::map_response(add_security_headers))
            .with_state(self)
    }

    async fn send(&self, request: Request) -> Result<Response, Problem> {
        let Some(permit) = self
            .requests
            .wait(1, Instant::now().into_std(), MAX_WAIT)
            .await
        else {
            let detail = "too many requests for traces in progress; try again in a moment";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        let sent = self.peer.send(request).await;
        let (head, body) = sent.map_err(|error| unavailable(&error))?.into_parts();
        // Known from Content-Length, so that the client gets an error and not a response that is cut off.
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Problem::new(StatusCode::BAD_GATEWAY, too_long()));
        }
        let mut response = Response::new(bounded(Body::new(body), permit));
        *response.status_mut() = head.status;
        copy(&RESPONSE_HEADERS, &head.headers, response.headers_mut());
        let location = head.headers.get(header::LOCATION);
        if let Some(location) = location.and_then(|location| self.address.rewrite(location)) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }
}

async fn forward(State(jaeger): State<Jaeger>, request: Request) -> Result<Response, Problem> {
    let forwarded = forwarded(&request);
    drop(request);
    jaeger.send(forwarded).await
}

/// The request to Jaeger, which has the same path without the prefix.
fn forwarded(request: &Request) -> Request {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    // A new request, so that only listed headers are forwarded.
    let mut forwarded = Request::new(Body::empty());
    request.method().clone_into(forwarded.method_mut());
    // Parsing cannot fail, since this is the end of a path that was parsed before.
    *forwarded.uri_mut() = path.parse().unwrap_or_default();
    copy(&REQUEST_HEADERS, request.headers(), forwarded.headers_mut());
    forwarded
}

fn copy(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Forwards a body up to a maximum length and time. The request to Jaeger is cancelled if the client
/// disconnects, or does not read while others need the permit.
fn bounded(body: Body, permit: StreamPermit) -> Body {
    let end = Instant::now() + BODY_TIMEOUT;
    let chunks = Body::new(Limited::new(body, MAX_BODY_BYTES)).into_data_stream();
    let timed = stream::try_unfold(chunks, move |mut chunks| async move {
        let chunk = tokio::time::timeout_at(end, chunks.next()).await;
        let chunk = chunk.unwrap_or_else(|elapsed| Some(Err(axum::Error::new(elapsed))));
        let chunk = chunk.transpose().inspect_err(|error| {
            let error = error as &dyn Error;
            tracing::warn!(error, "Jaeger's response was cut off");
        })?;
        Ok::<_, axum::Error>(chunk.map(|chunk| (chunk, chunks)))
    });
    Body::from_stream(permit.hold(timed, || Err(axum::Error::new(Unread))))
}

/// The error that ends a response whose client has stopped reading.
#[derive(Debug, thiserror::Error)]
#[error("the client stopped reading while other requests were waiting")]
struct Unread;

fn too_long() -> String {
    let max = MAX_BODY_BYTES >> 20;
    format!("Jaeger's response is longer than {max} MiB; request fewer traces or a shorter period")
}

fn unavailable(error: &PeerCallError) -> Problem {
    tracing::error!(error = error as &dyn Error, "Jaeger unavailable");
    match error {
        PeerCallError::Timeout(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "Jaeger did not respond in time",
        ),
        _ => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Jaeger cannot be reached; try again in a moment",
        ),
    }
}

/// Adds security headers, as strict as Jaeger's pages allow.
async fn add_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in page_headers(CONTENT_SECURITY_POLICY, "same-origin") {
        headers.entry(name).or_insert(value);
    }
    response
}

/// The address of Jaeger, to recognise redirects to itself.
#[derive(Debug)]
struct Address {
    /// `http://HOST:PORT`.
    origin: String,
    /// The base path.
    base: String,
}

impl Address {
    fn of(url: &PeerUrl) -> Self {
        // Parsing cannot fail, since this is a URL.
        let url: Uri = url.to_string().parse().unwrap_or_default();
        let host = url.authority().map(ToString::to_string);
        Self {
            origin: format!("http://{}", host.unwrap_or_default()),
            base: url.path().trim_end_matches('/').to_owned(),
        }
    }

    /// The target of a redirect on this host. `None` if it leads anywhere but to Jaeger.
    fn rewrite(&self, location: &HeaderValue) -> Option<HeaderValue> {
        let location = location.to_str().ok()?;
        let from_origin = location.strip_prefix(&self.origin);
        let path = from_origin
            .filter(|path| path.starts_with('/'))
            .unwrap_or(location);
        if !path.starts_with('/') {
            // Otherwise it could name another host or scheme, such as `javascript:`.
            let is_relative = !path.contains("//") && !path.contains(':');
            return is_relative.then(|| HeaderValue::try_from(path).ok())?;
        }
        let path = path.strip_prefix(&self.base)?;
        let is_below = path.is_empty() || path.starts_with('/');
        let is_path = is_below && !path.starts_with("//");
        is_path.then(|| HeaderValue::try_from(format!("{PREFIX}{path}")).ok())?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn an_unread_response_makes_room() {
        let requests = StreamLimit::new(1);
        let endless = stream::repeat_with(|| Ok::<_, Infallible>("chunk"));
        let body = Body::from_stream(endless);
        let mut chunks = bounded(body, requests.acquire(1).unwrap()).into_data_stream();
        assert!(chunks.next().await.unwrap().is_ok());
        assert!(requests.acquire(1).is_none());
        let room = async {
            while requests.acquire(1).is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let room = tokio::time::timeout(Duration::from_secs(30), room);
        assert!(room.await.is_ok());
        assert!(chunks.next().await.unwrap().is_err());
    }

    #[rstest::rstest]
    #[case("http://lab:16686", "trace/1", Some("trace/1"))]
    #[case("http://lab:16686", "/search?a=b", Some("/jaeger/search?a=b"))]
    #[case("http://lab:16686", "http://lab:16686/search", Some("/jaeger/search"))]
    #[case("http://lab:16686/", "/", Some("/jaeger/"))]
    #[case("http://q:16686/jaeger", "/jaeger/search", Some("/jaeger/search"))]
    #[case("http://q:16686/jaeger", "/jaeger", Some("/jaeger"))]
    #[case("http://q:16686/jaeger", "/jaegers", None)]
    #[case("http://q:16686/jaeger", "/elsewhere", None)]
    #[case("http://lab:16686", "//evil.example/", None)]
    #[case("http://lab:16686", "https://evil.example/", None)]
    #[case("http://lab:16686", "http://lab:16686.evil.example/", None)]
    #[case("http://lab:16686", "javascript:alert(1)", None)]
    fn redirects_stay_on_this_host(
        #[case] url: &str,
        #[case] location: &str,
        #[case] expected: Option<&str>,
    ) {
        let address = Address::of(&url.parse().unwrap());
        let found = address.rewrite(&HeaderValue::from_str(location).unwrap());
        assert_eq!(found.as_ref().map(|it| it.to_str().unwrap()), expected);
    }

    #[rstest::rstest]
    #[case("/jaeger/", "/")]
    #[case("/jaeger/trace/1?a=%2f", "/trace/1?a=%2f")]
    #[case("/jaeger//evil.example/", "//evil.example/")]
    fn the_prefix_is_stripped(#[case] path: &str, #[case] expected: &str) {
        let request = Request::get(path)
            .header("cookie", "secret=1")
            .header("accept", "text/html")
            .body(Body::empty())
            .unwrap();
        let forwarded = forwarded(&request);
        assert_eq!(forwarded.uri().path_and_query().unwrap(), expected);
        assert_eq!(forwarded.headers().len(), 1);
    }
}
