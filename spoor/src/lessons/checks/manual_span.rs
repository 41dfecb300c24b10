//! Lesson 3: a span of the learner's own, in a trace that services have begun.

use std::time::Duration;

use spoor_traces::tree::{Place as InTree, Row, Tree};

use crate::{
    lessons::{place::Place, report::Report},
    traces::{Found, printable},
};

/// What the lesson calls the learner's script.
const SERVICE: &str = "receipt";
/// Whose span the learner's is to be below.
const ABOVE: &str = "service-a";
/// The attribute that it asks for.
const ATTRIBUTE: &str = "receipt.items";

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let found = place.traces_of(SERVICE).await?;
    let looked = format!("the traces with a span of {SERVICE}: {}", found.len());
    let attempts = found.iter().flat_map(attempts);
    let mut report = Report::best(attempts).unwrap_or_else(|| {
        let mut report = Report::new();
        let seen = "none has come; is service.name an attribute of the resource?";
        report.missing("a span of the service receipt", seen);
        report
    });
    report.looked_at(looked);
    Ok(report)
}

/// Each span of the learner's in a trace, the latest first.
fn attempts(found: &Found) -> impl Iterator<Item = Report> {
    let own = |row: &&Row| row.member.service() == SERVICE;
    let rows = found.tree.rows().iter().rev().filter(own);
    rows.map(|row| judged(found, row))
}

fn judged(Found { id, tree }: &Found, row: &Row) -> Report {
    let mut report = Report::new();
    let name = printable(&row.member.span.name);
    report.passed(
        "a span of the service receipt",
        format!("{name:?} in trace {id}"),
    );
    of_its_place(&mut report, tree, row);
    of_what_it_says(&mut report, row);
    report
}

fn of_its_place(report: &mut Report, tree: &Tree, row: &Row) {
    let what = "it is below the span with which service-a answered";
    let parent = row.parent.and_then(|parent| tree.rows().get(parent));
    match (row.place, parent) {
        (InTree::Child, Some(parent)) if parent.member.service() == ABOVE => {
            let above = printable(&parent.member.span.name);
            report.passed(what, format!("{above:?}"));
        }
        (InTree::Child, Some(parent)) => {
            let above = parent.member.service();
            report.missing(what, format!("its parent is a span of {above}"));
        }
        (InTree::MissingParent, _) => report.missing(
            what,
            "no span of its trace has the id that it names as its parent: are both ids from the \
             same traceresponse?",
        ),
        _ => report.missing(what, "it names no parent: it is a trace of its own"),
    }
    let services = tree.services();
    let has_b = services.iter().any(|(name, _)| *name == "service-b");
    report.expect(has_b, "the trace goes on to service-b", "");
}

fn of_what_it_says(report: &mut Report, row: &Row) {
    let span = &row.member.span;
    let attribute = span.attributes.iter().find(|it| it.key == ATTRIBUTE);
    let value = attribute.map(|it| spoor_traces::tree::value::text(it.value.as_ref()));
    let what = "it says how much it did, as receipt.items";
    match value {
        Some(value) => report.passed(what, printable(&value)),
        None => report.missing(what, "the span has no attribute of this name"),
    }
    let what = "it has an event for a moment within it";
    match span.events.first() {
        None => report.missing(what, "it has none"),
        Some(event) => {
            let at = event.time_unix_nano;
            let within = row.member.start() <= at && at <= row.member.end();
            let seen = printable(&event.name);
            if within {
                report.passed(what, seen);
            } else {
                report.missing(what, format!("{seen} is before its start or after its end"));
            }
        }
    }
    let duration = row.member.duration();
    let seen = format!("{duration:.1?}");
    report.expect(duration > Duration::ZERO, "it took some time", seen);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, KeyValue, any_value::Value},
        trace::v1::{ResourceSpans, span::Event},
    };

    use super::*;
    use crate::traces::spans::span;

    #[test]
    fn a_span_may_be_sent_again() {
        let trace = [
            span(ABOVE, "GET /", 1, 0, 0, 80),
            span("service-b", "Work", 2, 1, 10, 70),
        ];
        let lacking = span(SERVICE, "print", 3, 1, 90, 100);
        let whole = with_what_it_says(span(SERVICE, "print", 4, 1, 90, 100));
        let passes = |own: &[&ResourceSpans]| {
            let batches = trace.iter().chain(own.iter().copied());
            let found = Found {
                id: "07".repeat(16),
                tree: Tree::new(batches.cloned().collect()),
            };
            Report::best(attempts(&found)).is_some_and(|it| it.is_passed())
        };
        assert!(!passes(&[]));
        assert!(!passes(&[&lacking]));
        assert!(passes(&[&lacking, &whole]));
        assert!(passes(&[&whole, &lacking]));
    }

    fn with_what_it_says(mut batch: ResourceSpans) -> ResourceSpans {
        let span = &mut batch.scope_spans[0].spans[0];
        span.attributes.push(KeyValue {
            key: ATTRIBUTE.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::IntValue(3)),
            }),
            ..KeyValue::default()
        });
        span.events.push(Event {
            time_unix_nano: span.start_time_unix_nano,
            name: "paper is out".to_owned(),
            ..Event::default()
        });
        batch
    }
}
