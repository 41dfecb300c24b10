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
    let reports = found.iter().map(judged);
    let mut report = Report::best(reports).unwrap_or_else(|| {
        let mut report = Report::new();
        let seen = "none has come; is service.name an attribute of the resource?";
        report.missing("a span of the service receipt", seen);
        report
    });
    report.looked_at(looked);
    Ok(report)
}

fn judged(Found { id, tree }: &Found) -> Report {
    let mut report = Report::new();
    let own = |row: &&Row| row.member.service() == SERVICE;
    let Some(row) = tree.rows().iter().find(own) else {
        return report;
    };
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
