//! Requests that an HTTP server does not trace, since browsers and probes send them automatically.

use std::str::FromStr;

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt, TraceFlags, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// Paths whose requests are not traced. They are still counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntracedPaths(Vec<Pattern>);

/// Text that is not a list of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be \"none\" or paths separated by commas, such as \"/health\", \"/static/*\" or \"*.css\"; \
     not {0:?}"
)]
pub struct InvalidUntracedPaths(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Path(String),
    Prefix(String),
    Suffix(String),
}

impl UntracedPaths {
    /// Health checks, and the files of a page.
    pub const DEFAULT: &str = "/health,/healthz,/livez,/readyz,/favicon.ico,/robots.txt,\
                               *.css,*.js,*.map,*.svg,*.png,*.ico,*.woff2";

    /// Returns whether requests for this path are not traced.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Path(exact) => path == exact,
            Pattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Pattern::Suffix(suffix) => path.ends_with(suffix.as_str()),
        })
    }
}

impl Default for UntracedPaths {
    /// [`UntracedPaths::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT.parse().unwrap_or(Self(Vec::new()))
    }
}

impl FromStr for UntracedPaths {
    type Err = InvalidUntracedPaths;

    fn from_str(text: &str) -> Result<Self, InvalidUntracedPaths> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let entries = text.split(',').map(str::trim);
        let pattern = |entry: &str| {
            let (pattern, literal) = match (entry.strip_prefix('*'), entry.strip_suffix('*')) {
                (Some(suffix), None) => (Pattern::Suffix(suffix.to_owned()), suffix),
                (None, Some(prefix)) => (Pattern::Prefix(prefix.to_owned()), prefix),
                _ => (Pattern::Path(entry.to_owned()), entry),
            };
            let is_anchored = entry.starts_with('*') || entry.starts_with('/');
            let is_valid = is_anchored && !literal.is_empty() && !literal.contains('*');
            is_valid
                .then_some(pattern)
                .ok_or_else(|| InvalidUntracedPaths(entry.to_owned()))
        };
        entries.map(pattern).collect::<Result<_, _>>().map(Self)
    }
}

/// The context of a request without a trace. It is that of an unsampled span, so that no span
/// below it becomes the root of a trace of its own, here or in a service called.
#[must_use]
pub fn untraced_context(parent: &Context) -> Context {
    let ids = RandomIdGenerator::default();
    let parent_trace_id = parent.span().span_context().trace_id();
    // The caller's ID is kept, so that log lines can be found by it.
    let trace_id = match parent.has_active_span() {
        true => parent_trace_id,
        false => ids.new_trace_id(),
    };
    let span = SpanContext::new(
        trace_id,
        ids.new_span_id(),
        TraceFlags::NOT_SAMPLED,
        false,
        TraceState::NONE,
    );
    parent.with_remote_span_context(span)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::page("/", false)]
    #[case::health("/health", true)]
    #[case::below_health("/health/of/my/wishes", false)]
    #[case::icon("/favicon.ico", true)]
    #[case::style("/jaeger/static/index.css", true)]
    #[case::named_like_one("/css", false)]
    fn pages_and_not_their_files_are_traced(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(UntracedPaths::default().contains(path), expected);
    }

    #[rstest]
    #[case::none("none", "/health", false)]
    #[case::path("/a", "/a", true)]
    #[case::prefix("/a, /static/*", "/static/x", true)]
    #[case::prefix_itself("/static/*", "/static", false)]
    #[case::suffix("*.webp", "/x.webp", true)]
    fn a_list_replaces_the_default(#[case] list: &str, #[case] path: &str, #[case] expected: bool) {
        let paths = list.parse::<UntracedPaths>();
        assert_eq!(paths.map(|paths| paths.contains(path)), Ok(expected));
    }

    #[rstest]
    #[case::relative("health")]
    #[case::everything("*")]
    #[case::in_the_middle("/a*b")]
    #[case::both("*a*")]
    #[case::gap("/a,,/b")]
    fn invalid_patterns_are_refused(#[case] list: &str) {
        let parsed = list.parse::<UntracedPaths>();
        assert!(parsed.is_err_and(|error| error.to_string().contains("/static/*")));
    }
}
