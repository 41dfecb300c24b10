//! Lesson 10: from a latency bucket to a trace, by its exemplar.

use std::time::Duration;

use super::exemplars::{Bucket, buckets};
use crate::{
    cli::{http_client, read_body},
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, printable, short_duration},
};

const SERVICE: &str = "tasks";
/// The minimum duration of a slow request. Without a fault, no request to tasks takes that long.
const MIN_SLOW: Duration = Duration::from_millis(250);
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let urls = context.lab.status().await?.urls;
    let Some(url) = urls.get("tasks-ops") else {
        return Ok(report.with_missing("the metrics of tasks", "the lab has no address for them"));
    };
    let url = format!("{url}/metrics");
    let buckets = buckets(&scrape(&url).await?);
    report.add_source(format!("{url}, {} buckets", buckets.len()));
    let slow = slow(&mut report, buckets);
    if slow.is_empty() {
        return Ok(report);
    }
    let what = "the trace ID of the bucket's exemplar";
    match context.answers.one() {
        None => report.unanswered(what, context.answers.missing_options()),
        Some(answer) => match context.trace(answer).await? {
            Some(trace) => judge(&mut report, &trace, &slow),
            None => report.missing(what, format!("there is no trace {answer}")),
        },
    }
    Ok(report)
}

/// Gets the metrics of a service or of the lab.
pub(super) async fn scrape(url: &str) -> Result<String, reqwest::Error> {
    // Only OpenMetrics has exemplars; the older text format has no place for them.
    let accepted = "application/openmetrics-text";
    let request = http_client(url).get(url).header("accept", accepted);
    let response = request.timeout(SCRAPE_TIMEOUT).send().await?;
    let text = read_body(response.error_for_status()?).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The buckets of slow sampled requests. There may be several, since those of earlier load remain.
fn slow(report: &mut Report, buckets: Vec<Bucket>) -> Vec<Bucket> {
    let is_slow = |it: &Bucket| it.exemplar.is_some() && it.above >= MIN_SLOW.as_secs_f64();
    let slow: Vec<Bucket> = buckets.into_iter().filter(is_slow).collect();
    let what = "a bucket of slow requests, with an exemplar";
    if slow.is_empty() {
        let seen = "no bucket above 0.25 s has one; send a slow sampled request";
        report.missing(what, seen);
    } else {
        report.passed(what, listed(&slow));
    }
    slow
}

fn listed(buckets: &[Bucket]) -> String {
    let buckets: Vec<String> = buckets.iter().map(Bucket::to_string).collect();
    buckets.join("; ")
}

/// Checks that the trace belongs to one of the buckets. It need not be the current exemplar, since
/// a later request may have replaced that.
fn judge(report: &mut Report, FoundTrace { id, tree }: &FoundTrace, buckets: &[Bucket]) {
    let what = "the trace belongs to the bucket";
    let root = tree.root().map(|root| &root.member);
    let (service, name) = root.map_or(("", ""), |it| (it.service(), it.span.name.as_str()));
    let took = tree.duration();
    let is_exemplar = |it: &Bucket| it.exemplar.as_ref() == Some(id);
    let of_name = buckets.iter().filter(|bucket| bucket.is_of(name));
    let mut of_name = of_name.peekable();
    if root.is_none() {
        report.missing(what, "its root has not arrived yet");
    } else if service != SERVICE {
        report.wrong(what, format!("it is a trace of {service:?}"));
    } else if of_name.peek().is_none() {
        let (name, buckets) = (printable(name), listed(buckets));
        let seen = format!("its root is {name:?}, but the bucket is {buckets}");
        report.wrong(what, seen);
    } else if of_name.any(|bucket| is_exemplar(bucket) || bucket.contains(took)) {
        report.passed(what, format!("{id} took {}", short_duration(took)));
    } else {
        let (took, buckets) = (short_duration(took), listed(buckets));
        report.wrong(what, format!("it took {took}, but the bucket is {buckets}"));
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
http_server_request_duration_seconds_bucket{le="1",http_request_method="GET",http_route="/tasks",http_response_status_code="200"} 4
http_server_request_duration_seconds_bucket{le="2.5",http_request_method="GET",http_route="/tasks",http_response_status_code="200"} 5 # {trace_id="ee",span_id="f"} 2.0 1.5
"#;

    #[rstest::rstest]
    #[case("tasks", "GET /tasks", 400, true)]
    #[case("tasks", "GET /tasks", 2_000, true)]
    #[case("tasks", "GET /tasks", 700, false)]
    #[case("tasks", "GET /tasks", 20, false)]
    #[case("tasks", "POST /tasks", 400, false)]
    #[case("tasks", "GET /tasks/{id}", 400, false)]
    #[case("service-a", "GET /tasks", 400, false)]
    fn accepts_only_traces_of_the_bucket(
        #[case] service: &str,
        #[case] name: &str,
        #[case] takes: u64,
        #[case] passes: bool,
    ) {
        let mut report = Report::default();
        let found = FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![span(service, name, 1, 0, 0, takes)]),
        };
        let slow = slow(&mut report, buckets(TEXT));
        judge(&mut report, &found, &slow);
        assert_eq!(report.is_passed(), passes, "{report}");
    }
}
