//! The host names that a listener on loopback accepts.
//!
//! A web page can make its own name resolve to 127.0.0.1 (DNS rebinding). The browser then regards
//! servers on this machine as the page's own origin, so the page can read their responses. Such
//! requests have the page's name in `Host`.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header, uri::Authority};

/// Names by which containers reach their host. No web page can have them, since `.internal` is
/// reserved.
const CONTAINER_HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// The first host in a request that is not allowed. Requests without a host are allowed, since
/// browsers always send one.
pub(super) fn refused_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = headers.get_all(header::HOST).iter();
    let named = named.map(|host| host.to_str().unwrap_or("(not ASCII)"));
    // HTTP/2 has the host in `:authority`, which hyper puts into the URI; HTTP/1 may have one in the
    // request line, which then counts instead of the header (RFC 9112, section 3.2.2).
    let mut hosts = named.chain(uri.authority().map(Authority::as_str));
    hosts.find(|host| !is_allowed(host))
}

fn is_allowed(host: &str) -> bool {
    let name = without_port(host);
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    is("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        // RFC 6761: names below `localhost` resolve to loopback everywhere.
        || name.to_ascii_lowercase().ends_with(".localhost")
        || CONTAINER_HOST_NAMES.into_iter().any(is)
}

fn without_port(host: &str) -> &str {
    // An IPv6 literal is in brackets, and its own colons do not separate a port.
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_host_of_a_request_is_checked() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        let absolute = Uri::from_static("http://evil.example/");
        assert_eq!(refused_host(&absolute, &headers), Some("evil.example"));
        let relative = Uri::from_static("/");
        assert_eq!(refused_host(&relative, &headers), None);
        headers.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(refused_host(&relative, &headers), Some("evil.example"));
    }

    #[rstest::rstest]
    #[case("127.0.0.1:16600", true)]
    #[case("127.1.2.3", true)]
    #[case("localhost", true)]
    #[case("LOCALHOST:80", true)]
    #[case("spoor.localhost:80", true)]
    #[case("[::1]:16600", true)]
    #[case("host.docker.internal:4317", true)]
    #[case("evil.example", false)]
    #[case("evil.example:16600", false)]
    #[case("127.0.0.1.evil.example:16600", false)]
    #[case("evillocalhost", false)]
    #[case("192.168.0.1", false)]
    #[case("a b", false)]
    #[case("", false)]
    fn only_this_machines_names_are_allowed(#[case] host: &str, #[case] allowed: bool) {
        assert_eq!(is_allowed(host), allowed);
    }
}
