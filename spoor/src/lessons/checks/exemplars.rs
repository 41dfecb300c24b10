//! Parsing of request duration buckets with their exemplars from OpenMetrics text.

use std::{collections::HashMap, time::Duration};

const METRIC: &str = "http_server_request_duration_seconds_bucket{";

/// A bucket of an operation's durations.
#[derive(Clone, Debug, PartialEq, derive_more::Display)]
#[display("{above} s to {up_to} s of {operation}")]
pub(super) struct Bucket {
    /// The labels except the bound, such as route and status.
    operation: String,
    /// The lower bound in seconds, exclusive.
    pub(super) above: f64,
    /// The upper bound in seconds, inclusive.
    up_to: f64,
    /// The trace ID of the exemplar.
    pub(super) exemplar: Option<String>,
}

/// Parses all buckets in the order of the text, in which those of an operation follow each other,
/// the shortest durations first.
pub(super) fn buckets(text: &str) -> Vec<Bucket> {
    let mut bounds: HashMap<String, f64> = HashMap::new();
    let lines = text.lines().filter_map(|line| line.strip_prefix(METRIC));
    lines
        .filter_map(|line| {
            let (sample, exemplar) = line.split_once(" # ").unwrap_or((line, ""));
            let (labels, _count) = sample.rsplit_once("} ")?;
            let (before, rest) = labels.split_once("le=\"")?;
            let (bound, after) = rest.split_once('"')?;
            let operation = format!("{before}{}", after.trim_start_matches(','));
            let up_to = match bound {
                "+Inf" => f64::INFINITY,
                number => number.parse().ok()?,
            };
            // Buckets are cumulative and sorted, so the lower bound is that of the line before.
            let above = bounds.insert(operation.clone(), up_to).unwrap_or(0.0);
            Some(Bucket {
                operation,
                above,
                up_to,
                exemplar: trace_id(exemplar),
            })
        })
        .collect()
}

fn trace_id(exemplar: &str) -> Option<String> {
    let (_, id) = exemplar.split_once("trace_id=\"")?;
    Some(id.split_once('"')?.0.to_owned())
}

impl Bucket {
    /// True if the bucket counts requests whose span has this name, such as `GET /tasks`.
    pub(super) fn is_of(&self, span: &str) -> bool {
        let has =
            |label: &str, value: &str| self.operation.contains(&format!("{label}=\"{value}\""));
        span.split_once(' ').is_some_and(|(method, route)| {
            has("http_request_method", method) && has("http_route", route)
        })
    }

    /// True if a request of this duration belongs to the bucket. The duration of a span differs a
    /// little from the one that the metric measures.
    pub(super) fn contains(&self, duration: Duration) -> bool {
        const TOLERANCE: f64 = 0.005;
        let seconds = duration.as_secs_f64();
        self.above - TOLERANCE < seconds && seconds <= self.up_to + TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_sum{http_route="/tasks"} 0.4
http_server_request_duration_seconds_bucket{le="0.25",http_route="/tasks"} 3 # {trace_id="aa",span_id="b"} 0.001 1.5
http_server_request_duration_seconds_bucket{le="0.5",http_route="/tasks"} 4 # {trace_id="cc",span_id="d"} 0.4 2.5
http_server_request_duration_seconds_bucket{le="+Inf",http_route="/tasks"} 4
http_server_request_duration_seconds_bucket{le="0.25",http_route="/health"} 1
"#;

    #[test]
    fn reads_bounds_and_exemplars_of_buckets() {
        let found = buckets(TEXT);
        let seen: Vec<_> = found
            .iter()
            .map(|it| (it.above, it.up_to, it.exemplar.as_deref()))
            .collect();
        let expected = [
            (0.0, 0.25, Some("aa")),
            (0.25, 0.5, Some("cc")),
            (0.5, f64::INFINITY, None),
            (0.0, 0.25, None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(
            found[1].to_string(),
            "0.25 s to 0.5 s of http_route=\"/tasks\""
        );
        assert!(found[1].contains(Duration::from_millis(400)));
        assert!(!found[1].contains(Duration::from_millis(3)));
    }

    #[test]
    fn skips_other_lines() {
        let text = format!("{METRIC}\n{METRIC}le=\"x\"}} 1\n{METRIC}a=\"\"}} 1 # {{}} 1\n");
        assert_eq!(buckets(&text), []);
    }
}
