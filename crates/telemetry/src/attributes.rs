//! Attributes of the network, which the semantic conventions for HTTP and RPC share.

use std::net::SocketAddr;

use http::uri::Authority;
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT, SERVER_ADDRESS, SERVER_PORT,
};

/// Adds the attributes of the caller.
pub(crate) fn push_peer(attributes: &mut Vec<KeyValue>, peer: SocketAddr) {
    // A socket for both families shows IPv4 peers as `::ffff:a.b.c.d`.
    let address = peer.ip().to_canonical().to_string();
    attributes.push(KeyValue::new(CLIENT_ADDRESS, address.clone()));
    attributes.push(KeyValue::new(NETWORK_PEER_ADDRESS, address));
    attributes.push(KeyValue::new(NETWORK_PEER_PORT, i64::from(peer.port())));
}

/// Adds the attributes of the server. Only HTTP has a default port.
pub(crate) fn push_server(
    attributes: &mut Vec<KeyValue>,
    authority: Option<&Authority>,
    default_port: Option<u16>,
) {
    let Some(authority) = authority else {
        return;
    };
    attributes.push(KeyValue::new(SERVER_ADDRESS, authority.host().to_owned()));
    if let Some(port) = authority.port_u16().or(default_port) {
        attributes.push(KeyValue::new(SERVER_PORT, i64::from(port)));
    }
}
