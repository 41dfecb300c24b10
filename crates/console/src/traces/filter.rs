//! The search form's fields and their meaning.

use std::{collections::BTreeMap, time::Duration};

use spoor_traces::{
    Search,
    query::{
        go,
        parameters::{self, Parameters},
    },
};

/// The choices for the lookback: value, label and seconds. The empty value means any time.
pub const LOOKBACKS: [(&str, &str, u64); 8] = [
    ("", "Any time", 0),
    ("5m", "Last 5 minutes", 5 * 60),
    ("15m", "Last 15 minutes", 15 * 60),
    ("1h", "Last hour", 3_600),
    ("6h", "Last 6 hours", 6 * 3_600),
    ("12h", "Last 12 hours", 12 * 3_600),
    ("1d", "Last day", 24 * 3_600),
    ("2d", "Last 2 days", 48 * 3_600),
];

/// The time after its start for which a trace may still appear: the tail sampler waits for its spans.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The choices for the limit.
pub const LIMITS: [usize; 4] = [20, 50, 100, 200];

/// The values of the form's fields, and the search that they describe.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub service: String,
    pub operation: String,
    pub tags: String,
    pub min_duration: String,
    pub max_duration: String,
    pub lookback: String,
    pub is_longest_first: bool,
    /// Static files and health checks are listed too.
    pub shows_routine: bool,
    /// The search, from the fields that are valid.
    pub search: Search,
    /// The invalid fields, with the reason for each.
    pub problems: Vec<(&'static str, String)>,
}

impl Filter {
    /// Reads the form's parameters.
    pub fn read(parameters: &Parameters) -> Self {
        let text = |name| parameters.text(name).unwrap_or_default();
        let mut filter = Self {
            service: text("service"),
            operation: text("operation"),
            tags: text("tags"),
            min_duration: text("minDuration"),
            max_duration: text("maxDuration"),
            lookback: text("lookback"),
            is_longest_first: parameters.get("sort") == Some("longest"),
            shows_routine: parameters.get("hidden") == Some("show"),
            ..Self::default()
        };
        filter.interpret(parameters);
        filter
    }

    /// Returns whether any field restricts the traces shown.
    pub fn is_restrictive(&self) -> bool {
        let all = Search {
            limit: self.search.limit,
            ..Search::default()
        };
        self.search != all
    }

    /// Returns whether static files and health checks are left out. A search for one operation lists
    /// all of its traces.
    pub fn hides_routine(&self) -> bool {
        !self.shows_routine && self.operation.is_empty()
    }

    /// Restricts the search to traces that a page may not have yet, given the start of its newest
    /// trace.
    pub fn restrict_to_new(&mut self, newest: u64) {
        let earliest = newest.saturating_sub(parameters::nanos(MAX_DELAY));
        let start_min = self.search.start_min.unwrap_or(0);
        self.search.start_min = Some(start_min.max(earliest));
    }

    /// The problem of a field.
    pub fn problem(&self, field: &str) -> Option<&str> {
        let entry = self.problems.iter().find(|(name, _)| *name == field);
        entry.map(|(_, problem)| problem.as_str())
    }

    fn interpret(&mut self, parameters: &Parameters) {
        let non_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.search.service = non_empty(&self.service);
        self.search.operation = non_empty(&self.operation);
        self.search.tags = self.checked("tags", tags(&self.tags)).unwrap_or_default();
        let mut read = |name| self.checked(name, duration(parameters, name)).flatten();
        let (shortest, longest) = (read("minDuration"), read("maxDuration"));
        self.search.duration_min = shortest;
        self.search.duration_max = longest;
        if let (Some(shortest), Some(longest)) = (shortest, longest)
            && longest < shortest
        {
            let problem = "enter a duration no shorter than the minimum".to_owned();
            self.problems.push(("maxDuration", problem));
        }
        self.search.start_min = self.checked("lookback", lookback(&self.lookback)).flatten();
        let limit = parameters.get("limit").map(parameters::limit);
        let limit = limit.unwrap_or(Ok(LIMITS[0]));
        let limit = self.checked("limit", limit).unwrap_or(LIMITS[0]);
        // The APIs accept higher limits than a page can show.
        self.search.limit = limit.min(LIMITS[LIMITS.len() - 1]);
    }

    fn checked<T>(&mut self, field: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| self.problems.push((field, problem)))
            .ok()
    }
}

fn duration(parameters: &Parameters, name: &str) -> Result<Option<Duration>, String> {
    let text = parameters.get(name).map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let read = go::duration(text);
    read.map(Some)
        .map_err(|_| "enter a number with a unit, such as 100ms or 1.2s".to_owned())
}

fn lookback(text: &str) -> Result<Option<u64>, String> {
    let known = LOOKBACKS.iter().find(|(value, ..)| *value == text);
    match known {
        Some((_, _, 0)) => Ok(None),
        Some((_, _, seconds)) => {
            let span = parameters::nanos(Duration::from_secs(*seconds));
            Ok(Some(parameters::now().saturating_sub(span)))
        }
        None => Err("choose one of the listed values, such as 1h".to_owned()),
    }
}

/// Reads `key=value other="with spaces"`.
fn tags(text: &str) -> Result<Vec<(String, String)>, String> {
    let expected =
        || "enter pairs of key=value, such as error=true or http.route=\"/a b\"".to_owned();
    // As in the APIs, the last value of a key counts.
    let mut tags = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(expected)?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(expected());
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or_else(|| "a closing quotation mark is missing".to_owned())?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        tags.insert(key.to_owned(), value.to_owned());
        rest = after.trim_start();
    }
    parameters::tags(tags)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use spoor_traces::query::parameters::Parameters;

    use super::{Filter, tags};

    fn read(pairs: &[(&str, &str)]) -> Filter {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Filter::read(&Parameters(pairs.iter().map(owned).collect()))
    }

    #[test]
    fn tag_values_may_be_quoted() {
        let expected = [("a", "b c"), ("empty", ""), ("error", "true")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let read = tags(" error=true  a=\"b c\" empty= ");
        assert_eq!(read.as_deref(), Ok(expected.as_slice()));
        assert!(tags("error").is_err());
        assert!(tags("=x").is_err());
        assert!(tags("a=\"b").is_err());
    }

    #[rstest]
    #[case("minDuration", "soon")]
    #[case("maxDuration", "5")]
    #[case("lookback", "7y")]
    #[case("limit", "-1")]
    #[case("tags", "x")]
    fn invalid_field_is_named(#[case] field: &str, #[case] value: &str) {
        let filter = read(&[(field, value)]);
        assert!(filter.problem(field).is_some());
        assert_eq!(filter.problems.len(), 1);
    }

    #[test]
    fn empty_fields_restrict_nothing() {
        let filter = read(&[("service", ""), ("minDuration", ""), ("lookback", "")]);
        assert!(!filter.is_restrictive());
        assert!(filter.problems.is_empty());
        assert_eq!(filter.search.limit, 20);
    }

    #[test]
    fn largest_choice_bounds_the_limit() {
        assert_eq!(read(&[("limit", "20000")]).search.limit, 200);
    }
}
