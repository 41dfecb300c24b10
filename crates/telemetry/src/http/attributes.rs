//! Attributes of HTTP spans, following the semantic conventions for HTTP.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Request, Uri, header};
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::{
    HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION,
    URL_FULL, URL_PATH, URL_QUERY, URL_SCHEME, USER_AGENT_ORIGINAL,
};

use crate::{
    attributes::{push_peer, push_server},
    metrics::OTHER,
};

/// The known methods by name, all others as `_OTHER`.
pub(super) fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "PATCH", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or(OTHER)
}

/// The attributes of a server span at its start.
pub(super) fn of_server<B>(
    request: &Request<B>,
    route: &str,
    peer: Option<SocketAddr>,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(14);
    push_method(&mut attributes, request.method());
    attributes.push(KeyValue::new(URL_PATH, request.uri().path().to_owned()));
    attributes.push(KeyValue::new(URL_SCHEME, "http"));
    if let Some(query) = request.uri().query() {
        attributes.push(KeyValue::new(URL_QUERY, query.to_owned()));
    }
    if !route.is_empty() {
        attributes.push(KeyValue::new(HTTP_ROUTE, route.to_owned()));
    }
    let host =
        text(request.headers(), header::HOST).or(request.uri().authority().map(|it| it.as_str()));
    let host = host.and_then(|host| host.parse().ok());
    push_server(&mut attributes, host.as_ref(), Some(80));
    if let Some(peer) = peer {
        push_peer(&mut attributes, peer);
    }
    if let Some(agent) = text(request.headers(), header::USER_AGENT) {
        attributes.push(KeyValue::new(USER_AGENT_ORIGINAL, agent.to_owned()));
    }
    if let Some(version) = version(request.version()) {
        attributes.push(KeyValue::new(NETWORK_PROTOCOL_VERSION, version));
    }
    attributes
}

/// The attributes of a client span at its start.
pub(super) fn of_client<B>(request: &Request<B>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(5);
    push_method(&mut attributes, request.method());
    attributes.push(KeyValue::new(URL_FULL, full(request.uri())));
    let is_secure = request.uri().scheme_str() == Some("https");
    let default = if is_secure { 443 } else { 80 };
    push_server(&mut attributes, request.uri().authority(), Some(default));
    attributes
}

/// The URL without credentials.
fn full(uri: &Uri) -> String {
    let text = uri.to_string();
    let authority = uri.authority().map(|authority| authority.as_str());
    match authority.and_then(|authority| authority.rsplit_once('@')) {
        // The semantic conventions prescribe this text.
        Some((credentials, _)) => text.replacen(credentials, "REDACTED:REDACTED", 1),
        None => text,
    }
}

fn push_method(attributes: &mut Vec<KeyValue>, original: &Method) {
    let name = method(original);
    attributes.push(KeyValue::new(HTTP_REQUEST_METHOD, name));
    if name == OTHER {
        let original = original.to_string();
        attributes.push(KeyValue::new(HTTP_REQUEST_METHOD_ORIGINAL, original));
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn version(version: http::Version) -> Option<&'static str> {
    match version {
        http::Version::HTTP_10 => Some("1.0"),
        http::Version::HTTP_11 => Some("1.1"),
        http::Version::HTTP_2 => Some("2"),
        http::Version::HTTP_3 => Some("3"),
        _ => None,
    }
}
