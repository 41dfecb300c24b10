//! Attributes of HTTP spans, by the semantic conventions for HTTP.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Uri, header, request::Parts};
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_ROUTE,
    NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, NETWORK_PROTOCOL_VERSION, SERVER_ADDRESS, SERVER_PORT,
    URL_FULL, URL_PATH, URL_QUERY, URL_SCHEME, USER_AGENT_ORIGINAL,
};

use crate::metrics::OTHER;

/// The known methods by name, all others as `_OTHER`.
pub(super) fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        _ => OTHER,
    }
}

/// Of a server span, at its start.
pub(super) fn of_server(request: &Parts, route: &str, peer: Option<SocketAddr>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(14);
    push_method(&mut attributes, &request.method);
    attributes.push(KeyValue::new(URL_PATH, request.uri.path().to_owned()));
    attributes.push(KeyValue::new(URL_SCHEME, "http"));
    if let Some(query) = request.uri.query() {
        attributes.push(KeyValue::new(URL_QUERY, query.to_owned()));
    }
    if !route.is_empty() {
        attributes.push(KeyValue::new(HTTP_ROUTE, route.to_owned()));
    }
    let host =
        text(&request.headers, header::HOST).or(request.uri.authority().map(|it| it.as_str()));
    push_server(
        &mut attributes,
        host.and_then(|host| host.parse().ok()).as_ref(),
        80,
    );
    if let Some(peer) = peer {
        // A socket for both families shows IPv4 peers as `::ffff:a.b.c.d`.
        let address = peer.ip().to_canonical().to_string();
        attributes.push(KeyValue::new(CLIENT_ADDRESS, address.clone()));
        attributes.push(KeyValue::new(NETWORK_PEER_ADDRESS, address));
        attributes.push(KeyValue::new(NETWORK_PEER_PORT, i64::from(peer.port())));
    }
    if let Some(agent) = text(&request.headers, header::USER_AGENT) {
        attributes.push(KeyValue::new(USER_AGENT_ORIGINAL, agent.to_owned()));
    }
    if let Some(version) = version(request.version) {
        attributes.push(KeyValue::new(NETWORK_PROTOCOL_VERSION, version));
    }
    attributes
}

/// Of a client span, at its start.
pub(super) fn of_client<B>(request: &http::Request<B>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(5);
    push_method(&mut attributes, request.method());
    attributes.push(KeyValue::new(URL_FULL, full(request.uri())));
    let default = if request.uri().scheme_str() == Some("https") {
        443
    } else {
        80
    };
    push_server(&mut attributes, request.uri().authority(), default);
    attributes
}

/// The URL without the credentials that it may hold.
fn full(uri: &Uri) -> String {
    let text = uri.to_string();
    match uri
        .authority()
        .and_then(|authority| authority.as_str().rsplit_once('@'))
    {
        // The semantic conventions prescribe this text.
        Some((credentials, _)) => text.replacen(credentials, "REDACTED:REDACTED", 1),
        None => text,
    }
}

fn push_method(attributes: &mut Vec<KeyValue>, original: &Method) {
    let name = method(original);
    attributes.push(KeyValue::new(HTTP_REQUEST_METHOD, name));
    if name == OTHER {
        attributes.push(KeyValue::new(
            HTTP_REQUEST_METHOD_ORIGINAL,
            original.to_string(),
        ));
    }
}

fn push_server(
    attributes: &mut Vec<KeyValue>,
    authority: Option<&http::uri::Authority>,
    default_port: u16,
) {
    if let Some(authority) = authority {
        attributes.push(KeyValue::new(SERVER_ADDRESS, authority.host().to_owned()));
        let port = authority.port_u16().unwrap_or(default_port);
        attributes.push(KeyValue::new(SERVER_PORT, i64::from(port)));
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
