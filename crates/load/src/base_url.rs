//! The address of a service.

use std::str::FromStr;

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// The address of a service, `http://HOST:PORT`. A path or query is ignored.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display)]
#[display("http://{_0}")]
pub struct BaseUrl(Authority);

/// The error for a text that is not such an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a URL such as http://127.0.0.1:8080, not {0:?}")]
pub struct InvalidBaseUrl(String);

impl BaseUrl {
    /// `HOST:PORT`, to connect to.
    pub(crate) fn address(&self) -> String {
        // 80 is the default of the scheme.
        let port = self.0.port_u16().unwrap_or(80);
        format!("{}:{port}", self.0.host())
    }

    /// The `Host` header: the authority as written, since `:80` need not be in it.
    pub(crate) fn host(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let parts = text.parse::<Uri>().map(Uri::into_parts).ok();
        let http = parts.filter(|it| it.scheme == Some(Scheme::HTTP));
        http.and_then(|it| it.authority)
            .map(Self)
            .ok_or_else(|| InvalidBaseUrl(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("http://127.0.0.1:8080", "127.0.0.1:8080")]
    #[case("http://gateway", "gateway:80")]
    #[case("http://[::1]:8080/api?a=b", "[::1]:8080")]
    fn has_an_address_to_connect_to(#[case] text: &str, #[case] address: &str) {
        assert_eq!(text.parse::<BaseUrl>().unwrap().address(), address);
    }

    #[rstest::rstest]
    #[case("https://127.0.0.1:8080")]
    #[case("127.0.0.1:8080")]
    #[case("/path")]
    #[case("")]
    fn rejects_urls_other_than_http(#[case] text: &str) {
        assert!(text.parse::<BaseUrl>().is_err());
    }
}
