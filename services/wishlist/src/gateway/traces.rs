//! Links to the page that shows a trace.

use std::str::FromStr;

use http::Uri;
use opentelemetry::trace::TraceId;

const PLACEHOLDER: &str = "{id}";

/// The address of a trace's page: a URL, or a path on this host, with `{id}` for the trace ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceUrl(String);

/// The error for an invalid [`TraceUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a URL such as /jaeger/trace/{{id}} or http://127.0.0.1:16686/trace/{{id}}, not {0:?}"
)]
pub struct InvalidTraceUrl(String);

impl TraceUrl {
    /// The URL of one trace's page.
    pub(super) fn of(&self, id: TraceId) -> String {
        self.0.replacen(PLACEHOLDER, &id.to_string(), 1)
    }
}

/// Validates a trace ID from the page's URL, which can contain anything.
pub(super) fn parse_id(text: &str) -> Option<TraceId> {
    // `from_hex` also accepts fewer digits.
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    TraceId::from_hex(text).ok().filter(|_| is_id)
}

impl FromStr for TraceUrl {
    type Err = InvalidTraceUrl;

    fn from_str(text: &str) -> Result<Self, InvalidTraceUrl> {
        let invalid = || InvalidTraceUrl(text.to_owned());
        let (before, after) = text.split_once(PLACEHOLDER).ok_or_else(invalid)?;
        let uri: Uri = format!("{before}0{after}").parse().map_err(|_| invalid())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_absolute = is_web && uri.authority().is_some();
        // `//host/path` would lead to another host with the scheme of this one.
        let is_path = text.starts_with('/') && !text.starts_with("//");
        if is_absolute || is_path {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_id_replaces_its_placeholder() {
        let url: TraceUrl = "https://traces.example/trace/{id}?raw=1".parse().unwrap();
        let id = parse_id("4BF92F3577B34DA6A3CE929D0E0E4736").unwrap();
        let expected = "https://traces.example/trace/4bf92f3577b34da6a3ce929d0e0e4736?raw=1";
        assert_eq!(url.of(id), expected);
    }

    #[test]
    fn a_path_is_on_this_host() {
        let url: TraceUrl = "/jaeger/trace/{id}".parse().unwrap();
        let id = parse_id("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
        let expected = "/jaeger/trace/4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(url.of(id), expected);
    }

    #[rstest::rstest]
    #[case("http://127.0.0.1:16686/trace/")]
    #[case("//evil.example/{id}")]
    #[case("javascript:alert('{id}')")]
    fn other_urls_are_refused(#[case] text: &str) {
        assert!(text.parse::<TraceUrl>().is_err());
    }

    #[rstest::rstest]
    #[case("")]
    #[case("4bf92f3577b34da6a3ce929d0e0e473")]
    #[case("\"><script>alert(1)</script>12345")]
    fn other_ids_are_refused(#[case] text: &str) {
        assert_eq!(parse_id(text), None);
    }
}
