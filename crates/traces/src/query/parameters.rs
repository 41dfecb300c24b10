//! A request's query parameters, read as Jaeger reads them.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query, rejection::QueryRejection};
use http::request::Parts;
use jiff::Timestamp;

use super::go;

/// The default limit of a search in version 3, in traces.
pub const DEFAULT_DEPTH: usize = 100;

/// Jaeger's structured filter (its RFC 0005) is experimental. Ignoring it would return traces that
/// do not match.
pub const FILTER_REFUSED: &str = "query.filter is not supported; search by service, operation, \
                                  attributes and duration";

/// The decoded parameters in the order of the URL.
#[derive(Clone, Debug, Default)]
pub struct Parameters(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = QueryRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, QueryRejection> {
        let Query(pairs) = Query::from_request_parts(parts, state).await?;
        Ok(Self(pairs))
    }
}

impl Parameters {
    /// The first value under a name, unless empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let first = self.all(name).next()?;
        (!first.is_empty()).then_some(first)
    }

    /// The first of several names that has a value, with that value.
    pub fn first_of<'a>(&'a self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        names
            .iter()
            .find_map(|name| self.get(name).map(|value| (*name, value)))
    }

    /// All values under a name.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let named = move |pair: &&(String, String)| pair.0 == name;
        self.0.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// The first value under a name, owned, unless empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Returns whether JSON should be indented.
    pub fn is_pretty(&self) -> bool {
        self.get("prettyPrint")
            .is_some_and(|value| value != "false")
    }

    /// The value under a name, parsed.
    ///
    /// # Errors
    /// The parser's message after the parameter's name.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let with_name = |error| format!("unable to parse param '{name}': {error}");
        self.get(name).map(parse).transpose().map_err(with_name)
    }

    /// A time given as a number of units since the Unix epoch, in nanoseconds.
    ///
    /// # Errors
    /// If it is not a whole number.
    pub fn time(&self, name: &str, unit: Duration) -> Result<Option<u64>, String> {
        let units = self.parsed(name, go::integer)?;
        Ok(units.map(|units| nanos(unit).saturating_mul(units.try_into().unwrap_or(0))))
    }

    /// A duration such as `1.2s`.
    ///
    /// # Errors
    /// If Go's `time.ParseDuration` would refuse it, or if it is negative.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        self.parsed(name, go::duration)
    }
}

/// The current time, in nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0)
}

/// A duration in nanoseconds, or the maximum if it is longer.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The most tags in one search. For each source of a segment, a search holds a bit for each of them.
pub const MAX_TAGS: usize = 64;

/// The tags of a search.
///
/// # Errors
/// If there are more than the limit of one search.
pub fn tags(
    tags: impl IntoIterator<IntoIter: ExactSizeIterator<Item = (String, String)>>,
) -> Result<Vec<(String, String)>, String> {
    let tags = tags.into_iter();
    if tags.len() > MAX_TAGS {
        return Err(format!("a search may have at most {MAX_TAGS} tags"));
    }
    Ok(tags.collect())
}

/// A number of traces to find.
///
/// # Errors
/// If it is not a number from 1 to the limit of one search.
pub fn limit(text: &str) -> Result<usize, String> {
    let limit = go::integer(text)?;
    usize::try_from(limit)
        .ok()
        // Refused rather than reduced: fewer traces would look like all matches.
        .filter(|limit| (1..=super::MAX_TRACES).contains(limit))
        .ok_or_else(|| format!("must be between 1 and {}", super::MAX_TRACES))
}
