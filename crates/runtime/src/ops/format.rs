//! The two text formats of metrics: OpenMetrics, and Prometheus' own for scrapers that do not
//! accept it.

use http::{HeaderMap, header};

/// The content type of OpenMetrics, which has exemplars.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of Prometheus' text format, which has no exemplars.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The content type of the response, and the metrics in that format: OpenMetrics, unless `Accept`
/// lists plain text without it.
pub(super) fn negotiate(headers: &HeaderMap, open_metrics: String) -> (&'static str, String) {
    let accepts = |kind| {
        let values = headers.get_all(header::ACCEPT).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|range| range.split(';').next().is_some_and(|it| it.trim() == kind))
    };
    // Preferences are ignored: a scraper that accepts OpenMetrics gets it for its exemplars.
    if accepts("text/plain") && !accepts("application/openmetrics-text") {
        (PROMETHEUS, plain(&open_metrics))
    } else {
        (OPEN_METRICS, open_metrics)
    }
}

fn plain(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        if let Some((kind, name, rest)) = split_metadata(line)
            && counters.contains(&name)
        {
            // In Prometheus' format, a counter's name has the same suffix as its samples.
            text.extend(["# ", kind, " ", name, "_total ", rest, "\n"]);
        } else {
            text.extend([without_exemplar(line), "\n"]);
        }
    }
    text
}

/// Splits a line such as `# TYPE name rest` or `# HELP name rest` into its parts.
fn split_metadata(line: &str) -> Option<(&str, &str, &str)> {
    let (kind, line) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = line.split_once(' ')?;
    Some((kind, name, rest))
}

/// A sample without its exemplar. Label values contain no ` # {`: they are names, routes and codes.
fn without_exemplar(line: &str) -> &str {
    match line.rsplit_once(" # {") {
        Some((sample, _)) if !line.starts_with('#') => sample,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[rstest::rstest]
    #[case(None, OPEN_METRICS)]
    #[case(Some("*/*"), OPEN_METRICS)]
    #[case(
        Some(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ),
        OPEN_METRICS
    )]
    #[case(Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), PROMETHEUS)]
    #[case(Some("text/plain"), PROMETHEUS)]
    #[case(Some("text/html"), OPEN_METRICS)]
    fn the_accept_header_decides(#[case] accept: Option<&'static str>, #[case] content_type: &str) {
        let accept = accept.map(|value| (header::ACCEPT, HeaderValue::from_static(value)));
        let headers = accept.into_iter().collect();
        assert_eq!(negotiate(&headers, String::new()).0, content_type);
    }

    #[test]
    fn plain_text_has_full_names_and_no_exemplars() {
        let open_metrics = "\
# HELP requests Requests.
# TYPE requests counter
requests_total{path=\"/\"} 2
# HELP took_seconds Duration.
# TYPE took_seconds histogram
# UNIT took_seconds seconds
took_seconds_bucket{le=\"0.1\"} 1 # {trace_id=\"4bf9\"} 0.05 1.5
took_seconds_bucket{le=\"+Inf\"} 2
# EOF
";
        let plain = "\
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{path=\"/\"} 2
# HELP took_seconds Duration.
# TYPE took_seconds histogram
took_seconds_bucket{le=\"0.1\"} 1
took_seconds_bucket{le=\"+Inf\"} 2
";
        assert_eq!(super::plain(open_metrics), plain);
    }
}
