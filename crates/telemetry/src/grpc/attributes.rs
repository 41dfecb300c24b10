//! Attributes of RPC spans, by the semantic conventions for RPC and gRPC.

use std::net::SocketAddr;

use http::uri::Authority;
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, RPC_METHOD, RPC_METHOD_ORIGINAL,
    RPC_SYSTEM_NAME, SERVER_ADDRESS, SERVER_PORT,
};

use crate::metrics::{OTHER, Operation};

/// Of both sides, at the span's start. `path` is the request's.
pub(super) fn of_call(
    operation: &Operation,
    path: &str,
    server: Option<&Authority>,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(9);
    attributes.push(KeyValue::new(RPC_SYSTEM_NAME, "grpc"));
    attributes.push(KeyValue::new(RPC_METHOD, operation.target));
    if operation.target == OTHER {
        attributes.push(KeyValue::new(RPC_METHOD_ORIGINAL, method(path).to_owned()));
    }
    if let Some(server) = server {
        attributes.push(KeyValue::new(SERVER_ADDRESS, server.host().to_owned()));
        if let Some(port) = server.port_u16() {
            attributes.push(KeyValue::new(SERVER_PORT, i64::from(port)));
        }
    }
    attributes
}

/// Of the caller, as a server sees it.
pub(super) fn push_peer(attributes: &mut Vec<KeyValue>, peer: SocketAddr) {
    // A socket for both families shows IPv4 peers as `::ffff:a.b.c.d`.
    let address = peer.ip().to_canonical().to_string();
    attributes.push(KeyValue::new(CLIENT_ADDRESS, address.clone()));
    attributes.push(KeyValue::new(NETWORK_PEER_ADDRESS, address));
    attributes.push(KeyValue::new(NETWORK_PEER_PORT, i64::from(peer.port())));
}

/// `/package.Service/Method` without its first slash.
pub(super) fn method(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}
