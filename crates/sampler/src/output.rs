//! The receiver of the spans that are kept.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

/// Returns whether an endpoint leads to this address of the same machine: a sampler that sends to
/// itself would send every span forever.
pub(crate) fn leads_to(endpoint: &Uri, address: SocketAddr) -> bool {
    let default_port = match endpoint.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    // Port 0 stands for any free port, which is not known yet.
    if address.port() == 0 || endpoint.port_u16().unwrap_or(default_port) != address.port() {
        return false;
    }
    let includes_loopback = address.ip().is_loopback() || address.ip().is_unspecified();
    let host = endpoint.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() => includes_loopback,
        Ok(ip) => ip == address.ip(),
        Err(_) => includes_loopback && host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("http://127.0.0.1:4327", "127.0.0.1:4327", true)]
    #[case("http://localhost:4327", "127.0.0.1:4327", true)]
    #[case("http://[::1]:4327/v1/traces", "127.0.0.1:4327", true)]
    #[case("http://localhost:4327", "0.0.0.0:4327", true)]
    #[case("http://0.0.0.0:4327", "127.0.0.1:4327", true)]
    #[case("http://10.1.2.3:4327", "10.1.2.3:4327", true)]
    #[case("http://localhost", "127.0.0.1:80", true)]
    #[case("https://localhost", "127.0.0.1:443", true)]
    #[case("http://localhost:4317", "127.0.0.1:4327", false)]
    #[case("http://collector:4327", "127.0.0.1:4327", false)]
    #[case("http://10.1.2.4:4327", "10.1.2.3:4327", false)]
    #[case("http://localhost:4327", "10.1.2.3:4327", false)]
    #[case("http://localhost:0", "127.0.0.1:0", false)]
    fn endpoint_leads_to_address(
        #[case] endpoint: Uri,
        #[case] address: SocketAddr,
        #[case] expected: bool,
    ) {
        assert_eq!(leads_to(&endpoint, address), expected);
    }
}
