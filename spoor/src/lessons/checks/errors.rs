//! Lesson 4: where an error began, and that it is gone.

use spoor_traces::tree::Tree;

use super::metrics::is_trace_id;
use crate::{
    lab::admin::{FaultSetting, Faults},
    lessons::{place::Place, report::Report},
    traces::{AskError, Found, printable},
};

/// Where requests come in.
const EDGE: &str = "service-a";

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let (Some(id), Some(began)) = (place.answers.named("trace"), place.answers.named("began"))
    else {
        let seen = "spoor check 4 --answer trace=ID --answer began=SERVICE";
        report.wrong("an answer", seen);
        return Ok(report);
    };
    if !is_trace_id(id) {
        let seen = format!("{id:?} is not the id of a trace: 32 hexadecimal digits");
        report.wrong("a trace that has an error", seen);
        return Ok(report);
    }
    report.looked_at(format!("trace {}", printable(id)));
    let tree = match place.traces.trace(id).await {
        Ok(batches) => Tree::new(batches),
        Err(error @ AskError::Unknown(_)) => {
            report.missing("a trace that has an error", error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error.into()),
    };
    if of_the_error(&mut report, &tree, began) {
        report.looked_at("the faults that are in force, and the later traces of service-a");
        no_fault_left(&mut report, &place.lab.faults().await?);
        went_well(&mut report, &place.traces_of(EDGE).await?, &tree);
    }
    Ok(report)
}

/// Whether there is an error at all.
fn of_the_error(report: &mut Report, tree: &Tree, answered: &str) -> bool {
    let rows = tree.rows();
    let Some(origin) = tree.origin_of_errors().and_then(|origin| rows.get(origin)) else {
        report.wrong("a trace that has an error", "none of its spans is one");
        return false;
    };
    let (errors, spans) = (tree.errors(), rows.len());
    report.passed(
        "a trace that has an error",
        format!("{errors} of its {spans} spans are red"),
    );
    let is_red = tree
        .root()
        .is_some_and(|root| root.member.service() == EDGE && root.member.is_error());
    report.expect(
        is_red,
        "the error came up to service-a, whose caller saw it",
        "",
    );
    let what = "where it began";
    if origin.member.service() == answered {
        report.passed(what, format!("{answered}: {}", why(tree, origin)));
    } else {
        let seen = format!(
            "not in {}: a span is red there because one below it is",
            printable(answered)
        );
        report.wrong(what, seen);
    }
    true
}

fn why(tree: &Tree, origin: &spoor_traces::tree::Row) -> String {
    let said = origin.member.status_message();
    if said.is_empty() {
        let spans = tree.rows().len();
        format!("the lowest red span of {spans}")
    } else {
        printable(said)
    }
}

/// A request may succeed by chance while a fault is active, so the fault itself has to be gone.
fn no_fault_left(report: &mut Report, faults: &Faults) {
    let what = "no fault makes requests fail any more";
    let has_errors =
        |fault: &FaultSetting| fault.errors.as_deref().is_some_and(|share| share != "0%");
    let failing: Vec<&str> = faults
        .iter()
        .filter(|(_, faults)| faults.iter().any(has_errors))
        .map(|(service, _)| service.as_str())
        .collect();
    if failing.is_empty() {
        report.passed(what, "");
    } else {
        let seen = format!("`spoor fault` still lists {}", failing.join(", "));
        report.wrong(what, seen);
    }
}

/// `found` has the newest first.
fn went_well(report: &mut Report, found: &[Found], red: &Tree) {
    let newest = found.first().filter(|it| it.tree.start() > red.start());
    let what = "the newest request went well again";
    match newest {
        Some(newest) if newest.tree.errors() == 0 => report.passed(what, &newest.id),
        Some(newest) => report.missing(what, format!("{} has an error too", newest.id)),
        None => report.missing(what, "there is none after the one with the error"),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Status, status::StatusCode};

    use super::*;
    use crate::traces::spans::span;

    fn faults(errors: Option<&str>) -> Faults {
        let fault = FaultSetting {
            operation: None,
            delay_milliseconds: 5,
            errors: errors.map(str::to_owned),
        };
        Faults::from([("service-b".to_owned(), vec![fault])])
    }

    fn is_mended(faults: &Faults) -> bool {
        let mut report = Report::new();
        no_fault_left(&mut report, faults);
        report.is_passed()
    }

    #[test]
    fn an_active_fault_is_refused() {
        assert!(!is_mended(&faults(Some("30%"))));
        assert!(is_mended(&faults(Some("0%"))));
        assert!(is_mended(&faults(None)));
        assert!(is_mended(&Faults::new()));
    }

    fn red(mut batch: ResourceSpans) -> ResourceSpans {
        if let Some(scope) = batch.scope_spans.first_mut() {
            for span in &mut scope.spans {
                span.status = Some(Status {
                    code: StatusCode::Error.into(),
                    message: String::new(),
                });
            }
        }
        batch
    }

    fn failed() -> Tree {
        Tree::new(vec![
            red(span(EDGE, "GET /", 1, 0, 100, 200)),
            red(span("service-b", "Work", 2, 1, 110, 190)),
        ])
    }

    #[test]
    fn only_the_lowest_red_service_is_right() {
        let passes = |answer| {
            let mut report = Report::new();
            of_the_error(&mut report, &failed(), answer) && report.is_passed()
        };
        assert!(passes("service-b"));
        assert!(!passes(EDGE));
    }

    #[test]
    fn a_later_request_must_succeed() {
        let passes = |batches: Vec<ResourceSpans>| {
            let mut report = Report::new();
            let found = Found {
                id: "07".repeat(16),
                tree: Tree::new(batches),
            };
            went_well(&mut report, &[found], &failed());
            report.is_passed()
        };
        assert!(passes(vec![span(EDGE, "GET /", 1, 0, 300, 400)]));
        assert!(!passes(vec![red(span(EDGE, "GET /", 1, 0, 300, 400))]));
        assert!(!passes(vec![span(EDGE, "GET /", 1, 0, 50, 60)]), "earlier");
    }
}
