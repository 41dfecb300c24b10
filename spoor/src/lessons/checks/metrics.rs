//! Lesson 10: from a latency bucket to a trace, by its exemplar.

use std::time::Duration;

use super::exemplars::{Bucket, buckets};
use crate::{
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, milliseconds, printable},
};

const SERVICE: &str = "tasks";
/// The minimum duration of a slow request. Without a fault, no request of tasks takes as long.
const MIN_SLOW: Duration = Duration::from_millis(250);
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let urls = context.lab.status().await?.urls;
    let Some(url) = urls.get("tasks-ops") else {
        report.wrong("a lab with the service tasks", "this lab runs without it");
        return Ok(report);
    };
    let url = format!("{url}/metrics");
    let buckets = buckets(&scrape(&url).await?);
    report.has_read(format!("{url}, {} buckets", buckets.len()));
    let Some(slowest) = slowest(&mut report, &buckets) else {
        return Ok(report);
    };
    let what = "the trace ID of the bucket's exemplar";
    match context.answers.one() {
        None => report.missing(what, "spoor check 10 --answer TRACE_ID"),
        Some(answer) if !is_trace_id(answer) => {
            report.wrong(
                what,
                format!("{answer:?} does not have 32 hexadecimal digits"),
            );
        }
        Some(answer) => match context.trace(answer).await? {
            Some(trace) => judge(&mut report, &trace, slowest),
            None => report.missing(what, format!("there is no trace {answer}")),
        },
    }
    Ok(report)
}

async fn scrape(url: &str) -> Result<String, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(SCRAPE_TIMEOUT).build()?;
    // Only OpenMetrics has exemplars; the older text format has no place for them.
    let request = client
        .get(url)
        .header("accept", "application/openmetrics-text");
    let response = request.send().await?.error_for_status()?;
    response.text().await
}

/// The bucket of the slowest sampled request.
fn slowest<'a>(report: &mut Report, buckets: &'a [Bucket]) -> Option<&'a Bucket> {
    let of_sampled = buckets.iter().filter(|bucket| bucket.exemplar.is_some());
    let slowest = of_sampled.max_by(|one, other| one.above.total_cmp(&other.above));
    let what = "a bucket of slow requests, with an exemplar";
    match slowest {
        None => report.missing(
            what,
            "no bucket has an exemplar yet; send a sampled request",
        ),
        Some(bucket) if bucket.above < MIN_SLOW.as_secs_f64() => {
            report.missing(what, format!("the slowest bucket is {bucket}"));
            return None;
        }
        Some(bucket) => report.passed(what, bucket.to_string()),
    }
    slowest
}

pub(super) fn is_trace_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Checks that the trace belongs to the bucket. It need not be the current exemplar, since a later
/// request may have replaced that.
fn judge(report: &mut Report, FoundTrace { id, tree }: &FoundTrace, bucket: &Bucket) {
    let what = "the trace belongs to the bucket";
    let root = tree.root().map(|root| &root.member);
    let (service, name) = root.map_or(("", ""), |it| (it.service(), it.span.name.as_str()));
    let took = tree.duration();
    let is_exemplar = bucket.exemplar.as_ref().is_some_and(|it| it == id);
    if service != SERVICE {
        report.wrong(what, format!("it is a trace of {service:?}"));
    } else if !bucket.is_of(name) {
        let seen = format!("its root is {:?}, the bucket is {bucket}", printable(name));
        report.wrong(what, seen);
    } else if is_exemplar || bucket.holds(took) {
        report.passed(what, format!("{id} took {}", milliseconds(took)));
    } else {
        let seen = format!("it took {}, the bucket is {bucket}", milliseconds(took));
        report.wrong(what, seen);
    }
}

#[cfg(test)]
mod tests {
    use spoor_traces::tree::Tree;

    use super::*;
    use crate::traces::spans::span;

    const TEXT: &str = r#"
http_server_request_duration_seconds_bucket{le="0.25",http_request_method="GET",http_route="/tasks",http_response_status_code="200"} 3
http_server_request_duration_seconds_bucket{le="0.5",http_request_method="GET",http_route="/tasks",http_response_status_code="200"} 4 # {trace_id="cc",span_id="d"} 0.4 2.5
"#;

    #[rstest::rstest]
    #[case("tasks", "GET /tasks", 400, true)]
    #[case("tasks", "GET /tasks", 20, false)]
    #[case("tasks", "POST /tasks", 400, false)]
    #[case("tasks", "GET /tasks/{id}", 400, false)]
    #[case("service-a", "GET /tasks", 400, false)]
    fn only_traces_of_the_bucket_are_right(
        #[case] service: &str,
        #[case] name: &str,
        #[case] takes: u64,
        #[case] passes: bool,
    ) {
        let buckets = buckets(TEXT);
        let mut report = Report::new();
        let found = FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![span(service, name, 1, 0, 0, takes)]),
        };
        if let Some(bucket) = slowest(&mut report, &buckets) {
            judge(&mut report, &found, bucket);
        }
        assert_eq!(report.is_passed(), passes, "{report}");
    }
}
