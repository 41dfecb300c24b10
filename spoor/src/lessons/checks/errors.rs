//! Lesson 4: the origin of an error, and its removal.

use jiff::Timestamp;
use spoor_lab::wire::{FaultSetting, FaultsByService};
use spoor_traces::tree::Tree;

use super::bottleneck::has_settled;
use crate::{
    cli::pluralize,
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, QueryError, printable},
};

/// The service that receives the requests.
const EDGE: &str = "service-a";

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let (Some(id), Some(began)) = (
        context.answers.named("trace"),
        context.answers.named("began"),
    ) else {
        report.unanswered("an answer", context.answers.missing_options());
        return Ok(report);
    };
    report.add_source(format!("trace {}", printable(id)));
    let Some(FoundTrace { tree, .. }) = context.trace(id).await? else {
        let seen = QueryError::Unknown(id.to_owned());
        return Ok(report.with_missing("a trace that has an error", seen.to_string()));
    };
    // While spans are missing, the error seems to begin above its origin.
    if !has_settled(tree.end(), Timestamp::now()) {
        let seen = "the last ones may not have arrived yet";
        return Ok(report.with_missing("all spans of the trace", seen));
    }
    if let Some(origin) = check_trace(&mut report, &tree, began) {
        report.add_source("the faults in force, and the later traces of service-a");
        check_faults_cleared(&mut report, &context.lab.faults().await?);
        check_newest(&mut report, &context.traces_of(EDGE).await?, &tree, origin);
    }
    Ok(report)
}

/// Checks the trace and the answer. Returns the service where the error began, if there is one.
fn check_trace<'a>(report: &mut Report, tree: &'a Tree, answered: &str) -> Option<&'a str> {
    let rows = tree.rows();
    let Some(origin) = tree.origin_of_errors().and_then(|origin| rows.get(origin)) else {
        report.wrong("a trace that has an error", "none of its spans is red");
        return None;
    };
    let (errors, spans) = (tree.errors(), pluralize(rows.len(), "span is", "spans are"));
    let seen = format!("{errors} of {spans} red");
    report.passed("a trace that has an error", seen);
    let what = "the error reached service-a and its caller";
    match tree.root().map(|root| &root.member) {
        Some(root) if root.service() == EDGE && root.is_error() => report.passed(what, ""),
        _ => report.missing(
            what,
            "the trace does not start with a red span of service-a",
        ),
    }
    let what = "the service where it began";
    if origin.member.service() == answered {
        report.passed(what, format!("{answered}: {}", cause(origin)));
    } else if !tree.services().iter().any(|(name, _)| *name == answered) {
        let seen = format!("the trace has no span of a service {answered:?}");
        report.wrong(what, seen);
    } else if !is_red(tree, answered) {
        let seen = format!("no span of {} is red", printable(answered));
        report.wrong(what, seen);
    } else {
        let answered = printable(answered);
        let seen = format!("not in {answered}, where a span is red because one below it is");
        report.wrong(what, seen);
    }
    Some(origin.member.service())
}

fn is_red(tree: &Tree, service: &str) -> bool {
    let mut members = tree.rows().iter().map(|row| &row.member);
    members.any(|member| member.service() == service && member.is_error())
}

fn cause(origin: &spoor_traces::tree::Row) -> String {
    let message = origin.member.status_message();
    if message.is_empty() {
        "the lowest red span".to_owned()
    } else {
        printable(message)
    }
}

/// Checks that no fault is in force. Requests are not enough, since one may succeed by chance.
fn check_faults_cleared(report: &mut Report, faults: &FaultsByService) {
    let what = "no fault that injects errors is in force any more";
    // A fault that only delays turns no span red.
    let has_errors =
        |fault: &FaultSetting| fault.errors.as_deref().is_some_and(|share| share != "0%");
    let faults = faults.iter();
    let failing = faults.filter(|(_, faults)| faults.iter().any(has_errors));
    let failing: Vec<&str> = failing.map(|(service, _)| service.as_str()).collect();
    if failing.is_empty() {
        report.passed(what, "");
    } else {
        let seen = format!("`spoor fault` still lists {}", failing.join(", "));
        report.wrong(what, seen);
    }
}

/// Checks that the newest request that reached the service where the error began succeeded. Others,
/// such as one that service-a refuses, would prove nothing. `found` has the newest trace first.
fn check_newest(report: &mut Report, found: &[FoundTrace], red: &Tree, origin: &str) {
    let reached = |it: &&FoundTrace| it.tree.services().iter().any(|(name, _)| *name == origin);
    let newest = found.iter().find(reached);
    let newest = newest.filter(|it| it.tree.start() > red.start());
    let what = "the newest request succeeded";
    match newest {
        Some(newest) if newest.tree.errors() == 0 => report.passed(what, &newest.id),
        Some(newest) => report.missing(what, format!("{} has an error too", newest.id)),
        None => report.missing(
            what,
            "no later trace that reaches the service where the error began has arrived yet",
        ),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

    use super::*;
    use crate::traces::spans::{red, span};

    fn faults(errors: Option<&str>) -> FaultsByService {
        let fault = FaultSetting {
            operation: None,
            delay_milliseconds: 5,
            errors: errors.map(str::to_owned),
        };
        FaultsByService::from([("service-b".to_owned(), vec![fault])])
    }

    fn is_cleared(faults: &FaultsByService) -> bool {
        let mut report = Report::default();
        check_faults_cleared(&mut report, faults);
        report.is_passed()
    }

    #[test]
    fn rejects_an_active_fault() {
        assert!(!is_cleared(&faults(Some("30%"))));
        assert!(is_cleared(&faults(Some("0%"))));
        assert!(is_cleared(&faults(None)));
        assert!(is_cleared(&FaultsByService::new()));
    }

    fn failed() -> Tree {
        Tree::new(vec![
            red(span(EDGE, "GET /", 1, 0, 100, 200)),
            red(span("service-b", "Work", 2, 1, 110, 190)),
        ])
    }

    #[test]
    fn accepts_only_the_lowest_failed_service() {
        let passes = |answer| {
            let mut report = Report::default();
            check_trace(&mut report, &failed(), answer).is_some() && report.is_passed()
        };
        assert!(passes("service-b"));
        assert!(!passes(EDGE) && !passes("gateway") && !passes(""));
    }

    #[test]
    fn reports_why_a_service_is_not_the_origin() {
        let healthy = span("gateway", "GET /", 3, 1, 120, 130);
        let mut batches = vec![healthy];
        batches.push(red(span(EDGE, "GET /", 1, 0, 100, 200)));
        batches.push(red(span("service-b", "Work", 2, 1, 110, 190)));
        let tree = Tree::new(batches);
        let report_on = |answer| {
            let mut report = Report::default();
            check_trace(&mut report, &tree, answer);
            report.to_string()
        };
        assert!(report_on("gateway").contains("no span of gateway is red"));
        assert!(report_on(EDGE).contains("because one below it is"));
    }

    #[test]
    fn requires_a_later_success() {
        let passes = |batches: Vec<ResourceSpans>| {
            let mut report = Report::default();
            let found = FoundTrace {
                id: "07".repeat(16),
                tree: Tree::new(batches),
            };
            check_newest(&mut report, &[found], &failed(), "service-b");
            report.is_passed()
        };
        let complete = |start| {
            let below = span("service-b", "Work", 2, 1, start, start + 10);
            vec![span(EDGE, "GET /", 1, 0, start, start + 20), below]
        };
        assert!(passes(complete(300)));
        assert!(!passes(complete(300).into_iter().map(red).collect()));
        assert!(!passes(complete(50)), "earlier");
        let refused = vec![span(EDGE, "GET /", 1, 0, 300, 400)];
        assert!(!passes(refused), "not through service-b");
    }
}
