//! The channel to a peer in the mesh.

use std::{str::FromStr, time::Duration};

use http::{Uri, uri::Scheme};
use tonic::transport::{self, Endpoint};
use tower::Layer;

use super::{Client, ClientLayer};

/// A channel whose calls are traced, for a generated `…Client::new(channel)`.
pub type Channel = Client<transport::Channel>;

/// On the same network a connection takes far less, or never comes.
const CONNECT: Duration = Duration::from_secs(1);

/// Where a peer in the mesh is: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerUrl(Uri);

/// Why a text is no [`PeerUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be such as http://127.0.0.1:9001")]
pub struct InvalidPeerUrl;

impl FromStr for PeerUrl {
    type Err = InvalidPeerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPeerUrl> {
        text.parse::<Uri>()
            .ok()
            .filter(|url| url.scheme() == Some(&Scheme::HTTP) && url.authority().is_some())
            .map(Self)
            .ok_or(InvalidPeerUrl)
    }
}

/// One HTTP/2 connection, made at the first call and again whenever it is gone.
pub(crate) fn lazy(peer: &PeerUrl, layer: ClientLayer) -> Channel {
    let endpoint = Endpoint::from(peer.0.clone())
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5));
    layer.to(&peer.0).layer(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("http://127.0.0.1:9001", true)]
    #[case("http://service-b:9001", true)]
    #[case("https://service-b:9001", false)]
    #[case("service-b:9001", false)]
    #[case("/", false)]
    #[case("", false)]
    fn peers(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<PeerUrl>().is_ok(), valid);
    }
}
