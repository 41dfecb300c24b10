//! HTTP clients that connect directly to this machine.

use std::net::IpAddr;

use reqwest::{Client, ClientBuilder, Url};

/// A builder of a client for a base URL. A proxy set in the environment does not apply to this
/// machine's own addresses, which it could not reach.
pub(crate) fn client_builder(url: &str) -> ClientBuilder {
    match Url::parse(url).is_ok_and(|url| is_loopback(&url)) {
        true => Client::builder().no_proxy(),
        false => Client::builder(),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address in a URL is in brackets.
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("http://127.0.0.1:16686", true)]
    #[case("http://127.1.2.3", true)]
    #[case("http://LOCALHOST:8080/", true)]
    #[case("http://[::1]:8080", true)]
    #[case("http://192.0.2.1", false)]
    #[case("http://tracing-query:16686", false)]
    #[case("http://127.0.0.1.example.org", false)]
    fn loopback_is_recognized(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(&url.parse().unwrap()), expected);
    }
}
