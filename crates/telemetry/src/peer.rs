//! The address of a peer in the mesh.

use std::str::FromStr;

use http::{
    Uri,
    uri::{InvalidUri, PathAndQuery, Scheme},
};

/// The URL of a peer in the mesh: `http://HOST:PORT`. For HTTP it may have a base path, such as
/// `http://jaeger:16686/jaeger`.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display)]
pub struct PeerUrl(Uri);

/// Text that is not a [`PeerUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an http:// URL without a query, such as http://127.0.0.1:9001")]
pub struct InvalidPeerUrl;

impl PeerUrl {
    /// The URL itself.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    /// The URL of a path at the peer; it begins with a slash, and may have a query.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, InvalidUri> {
        let base = self.0.path().trim_end_matches('/');
        let path = PathAndQuery::try_from(format!("{base}{path}"))?;
        let mut parts = self.0.clone().into_parts();
        parts.path_and_query = Some(path);
        // This cannot fail, since it has a scheme, an authority and a path.
        Ok(Uri::from_parts(parts).unwrap_or_default())
    }
}

impl FromStr for PeerUrl {
    type Err = InvalidPeerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPeerUrl> {
        text.parse::<Uri>()
            .ok()
            .filter(|url| url.scheme() == Some(&Scheme::HTTP) && url.authority().is_some())
            .filter(|url| url.query().is_none())
            .map(Self)
            .ok_or(InvalidPeerUrl)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("http://127.0.0.1:9001", true)]
    #[case("http://service-b:9001", true)]
    #[case("http://jaeger:16686/jaeger", true)]
    #[case("http://service-b:9001/?a=1", false)]
    #[case("https://service-b:9001", false)]
    #[case("service-b:9001", false)]
    #[case("/", false)]
    #[case("", false)]
    fn accepts_only_http_urls_without_a_query(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<PeerUrl>().is_ok(), valid);
    }

    #[rstest::rstest]
    #[case(
        "http://reviews:9007",
        "/reviews/1?a=b",
        "http://reviews:9007/reviews/1?a=b"
    )]
    #[case("http://jaeger/jaeger", "/trace/1", "http://jaeger/jaeger/trace/1")]
    #[case("http://jaeger/jaeger/", "/", "http://jaeger/jaeger/")]
    // Never another host.
    #[case("http://jaeger", "//evil.example/", "http://jaeger//evil.example/")]
    #[case("http://jaeger", "/@evil.example", "http://jaeger/@evil.example")]
    fn path_is_joined_to_the_peer(#[case] peer: &str, #[case] path: &str, #[case] expected: &str) {
        let peer: PeerUrl = peer.parse().unwrap();
        let joined = peer.join(path).unwrap();
        assert_eq!(joined.to_string(), expected);
        assert_eq!(joined.authority(), peer.uri().authority());
    }
}
