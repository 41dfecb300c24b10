//! The channel to a peer in the mesh.

use std::time::Duration;

use tonic::transport::Endpoint;
use tower::Layer;

use super::{GrpcClient, GrpcClientLayer, Transport};
use crate::PeerUrl;

/// A channel whose calls are traced, for a generated `…Client::new(channel)`.
pub type Channel = GrpcClient<Transport>;

/// The timeout for connecting. On the same network, connecting takes far less time, or fails.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn lazy(peer: &PeerUrl, layer: GrpcClientLayer) -> Channel {
    let endpoint = Endpoint::from(peer.uri().clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        // A peer that vanished is noticed within 25 s, long before the kernel stops retransmitting.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5));
    layer.to(peer.uri()).layer(Transport::lazy(endpoint))
}
