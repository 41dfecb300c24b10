//! Lesson 3: a span of the learner's own, in a trace that a service started.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use spoor_traces::tree::{Member, Position, Row, Tree, value};

use super::first_trace::{check_own_id, was_moved};
use crate::{
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, YEAR, printable, short_duration},
};

/// The service name of the learner's script.
const SERVICE: &str = "receipt";
/// The service and name of the span that must be the parent of the learner's.
const EXPECTED_PARENT: (&str, &str) = ("service-a", "GET /");
/// The longest plausible duration of the work.
const MAX_DURATION: Duration = Duration::from_secs(600);
/// The attribute that the lesson requires.
const ATTRIBUTE: &str = "receipt.items";

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let found = context.traces_of(SERVICE).await?;
    let mut report = Report::best(
        found.iter().flat_map(attempts),
        "a span of the service receipt",
        "none that started within --lookback (1h by default) has arrived; service.name must be an \
         attribute of the resource, and times are in nanoseconds",
    );
    let traces = found.len();
    report.add_source(format!("the traces with a span of {SERVICE}: {traces}"));
    context.report_older(&mut report, SERVICE).await;
    Ok(report)
}

/// The reports on each of the learner's spans in a trace, the latest first.
fn attempts(found: &FoundTrace) -> impl Iterator<Item = Report> {
    let own = |row: &&Row| row.member.service() == SERVICE;
    let rows = found.tree.rows().iter().rev().filter(own);
    rows.map(|row| assess(found, row))
}

fn assess(FoundTrace { id, tree }: &FoundTrace, row: &Row) -> Report {
    let mut report = Report::default();
    let what = "a span of the service receipt";
    match row.member.span.name.as_str() {
        "" => report.wrong(what, format!("its name is empty, in trace {id}")),
        name => report.passed(what, format!("{:?} in trace {id}", printable(name))),
    }
    check_own_id(&mut report, tree, row);
    check_parent(&mut report, tree, row);
    check_content(&mut report, row);
    report
}

fn check_parent(report: &mut Report, tree: &Tree, row: &Row) {
    let what = "its parent is the span of service-a";
    let parent = row.parent.and_then(|parent| tree.rows().get(parent));
    match (row.position, parent) {
        (Position::Child, Some(parent)) => {
            let (service, name) = (parent.member.service(), parent.member.span.name.as_str());
            let seen = format!("{} of {}", printable(name), printable(service));
            if (service, name) == EXPECTED_PARENT {
                report.passed(what, seen);
            } else {
                report.wrong(what, format!("its parent is {seen}"));
            }
            check_times(report, &row.member, &parent.member);
        }
        (Position::MissingParent, _) => report.missing(
            what,
            "its trace has no span with its parent ID; take both IDs from one \
             traceresponse header whose flags end in 1 or 3, which means sampled",
        ),
        // It may still be in the right trace, as a second root.
        _ => report.wrong(
            what,
            "it has no parent ID; take it and the trace ID from one traceresponse header",
        ),
    }
    let services = tree.services();
    let has_b = services.iter().any(|(name, _)| *name == "service-b");
    let what = "the trace continues to service-b";
    match has_b {
        true => report.passed(what, ""),
        false => report.missing(what, "it has no span of service-b"),
    }
}

/// Checks the span's times. The work starts after the response.
fn check_times(report: &mut Report, own: &Member, parent: &Member) {
    let what = "it starts and ends with the work";
    let duration = own.duration();
    // Only the start is compared: the work ends after its parent, which ends with the response.
    if own.start() < parent.start() || was_moved(own) {
        let seen = "it starts before the request that caused it; are its times in nanoseconds?";
        report.wrong(what, seen);
    } else if duration == Duration::ZERO {
        report.wrong(what, "it has no duration");
    } else if duration > MAX_DURATION {
        report.wrong(what, format!("it takes {}", short_duration(duration)));
    } else {
        report.passed(what, short_duration(duration));
    }
}

fn check_content(report: &mut Report, row: &Row) {
    let span = &row.member.span;
    let attribute = span.attributes.iter().find(|it| it.key == ATTRIBUTE);
    let value = attribute.map(|it| it.value.as_ref());
    let what = "its attribute receipt.items is the number of items";
    match value {
        Some(value) => {
            let seen = printable(&value::text(value));
            match number(value) {
                Some(count) if count >= 1.0 && count.fract() == 0.0 => report.passed(what, seen),
                Some(_) => report.wrong(what, format!("{seen} is not a positive whole number")),
                None => report.wrong(what, format!("{seen:?} is not a number; use intValue")),
            }
        }
        None => report.missing(what, "the span has no attribute of this name"),
    }
    let what = "it has an event between its start and its end";
    match span.events.first() {
        None => report.missing(what, "it has no event"),
        Some(event) => {
            let at = event.time_unix_nano;
            let year = u64::try_from(YEAR.as_nanos()).unwrap_or(u64::MAX);
            let within = row.member.start() <= at && at <= row.member.end();
            let seen = printable(&event.name);
            if within {
                report.passed(what, seen);
            } else if at == 0 {
                report.wrong(what, format!("{seen} has no timeUnixNano"));
            } else if row.member.start().saturating_sub(at) > year {
                let seen = format!("{seen} has a time that is not in nanoseconds");
                report.wrong(what, seen);
            } else {
                report.wrong(what, format!("{seen} is before its start or after its end"));
            }
        }
    }
}

fn number(value: Option<&AnyValue>) -> Option<f64> {
    match value?.value.as_ref()? {
        // Rounded above 2^53, but still whole.
        Value::IntValue(count) => Some(*count as f64),
        Value::DoubleValue(count) => Some(*count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::KeyValue,
        trace::v1::{ResourceSpans, span::Event},
    };

    use super::*;
    use crate::traces::spans::span;

    #[test]
    fn accepts_a_corrected_span() {
        let incomplete = span(SERVICE, "print", 5, 1, 90, 100);
        let complete = with_content(span(SERVICE, "print", 4, 1, 90, 100), COUNT);
        assert!(!passes(&[]));
        assert!(!passes(&[&incomplete]));
        assert!(passes(&[&incomplete, &complete]));
        assert!(passes(&[&complete, &incomplete]));
    }

    #[test]
    fn rejects_other_parents_and_times() {
        for wrong in [
            span(SERVICE, "print", 4, 9, 90, 100),
            span(SERVICE, "print", 4, 2, 90, 100),
            span(SERVICE, "print", 4, 0, 90, 100),
            span(SERVICE, "print", 1, 1, 90, 100),
            span(SERVICE, "print", 4, 1, 90, 90),
            span(SERVICE, "print", 4, 1, 4, 100),
            span(SERVICE, "print", 4, 1, 90, 90_000_000),
        ] {
            let wrong = with_content(wrong, COUNT);
            assert!(!passes(&[&wrong]), "{wrong:?}");
        }
    }

    #[test]
    fn rejects_an_empty_name() {
        let own = with_content(span(SERVICE, "", 4, 1, 90, 100), COUNT);
        let report = report_on(&[&own]);
        assert!(
            !report.is_passed() && report.to_string().contains("its name is empty"),
            "{report}"
        );
    }

    #[test]
    fn rejects_invalid_counts() {
        for (invalid, reason) in [
            (Value::StringValue("3".to_owned()), "use intValue"),
            (Value::IntValue(-3), "-3 is not a positive whole number"),
            (Value::IntValue(0), "0 is not a positive whole number"),
            (
                Value::DoubleValue(2.5),
                "2.5 is not a positive whole number",
            ),
        ] {
            let own = with_content(span(SERVICE, "print", 4, 1, 90, 100), invalid);
            let report = report_on(&[&own]);
            assert!(
                !report.is_passed() && report.to_string().contains(reason),
                "{report}"
            );
        }
    }

    #[test]
    fn second_root_is_not_a_separate_trace() {
        let root = with_content(span(SERVICE, "print", 4, 0, 90, 100), COUNT);
        let report = report_on(&[&root]).to_string();
        assert!(
            report.contains("no parent ID") && !report.contains("separate"),
            "{report}"
        );
    }

    #[test]
    fn names_the_unit_of_an_early_event() {
        const NOW: u64 = 1_800_000_000_000;
        let mut own = with_content(span(SERVICE, "print", 4, 1, NOW, NOW + 10), COUNT);
        own.scope_spans[0].spans[0].events[0].time_unix_nano = NOW;
        let report = report_on(&[&own]).to_string();
        assert!(report.contains("not in nanoseconds"), "{report}");
    }

    const COUNT: Value = Value::IntValue(3);

    fn passes(own: &[&ResourceSpans]) -> bool {
        report_on(own).is_passed()
    }

    fn report_on(own: &[&ResourceSpans]) -> Report {
        let trace = [
            span("service-a", "GET /", 1, 0, 10, 80),
            span("service-a", "Work", 2, 1, 11, 75),
            span("service-b", "Work", 3, 2, 12, 70),
        ];
        let batches = trace.iter().chain(own.iter().copied());
        let found = FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(batches.cloned().collect()),
        };
        Report::best(attempts(&found), "", "")
    }

    fn with_content(mut batch: ResourceSpans, count: Value) -> ResourceSpans {
        let span = &mut batch.scope_spans[0].spans[0];
        span.attributes.push(KeyValue {
            key: ATTRIBUTE.to_owned(),
            value: Some(AnyValue { value: Some(count) }),
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
