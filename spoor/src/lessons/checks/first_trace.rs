//! Lesson 1: a trace of two spans, sent by hand.

use std::{collections::HashSet, time::Duration};

use spoor_traces::tree::{Member, Position, Row, Tree, value, warnings};

use crate::{
    cli::pluralize,
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, printable, short_duration},
};

/// The service name that the lesson uses.
const SERVICE: &str = "by-hand";
const ROOT: &str = "make tea";
const CHILD: &str = "boil water";
const BELOW_ROOT: &str = "a span whose parent is the root";
/// The durations of the spans.
const ROOT_DURATION: Duration = Duration::from_millis(80);
const CHILD_DURATION: Duration = Duration::from_millis(60);
/// The trace IDs in the specifications' examples. An ID that is one of them was copied, not
/// generated.
const EXAMPLE_TRACE_IDS: [&str; 3] = [
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "0af7651916cd43dd8448eb211c80319c",
    "5b8efff798038103d269b633813fc60c",
];
/// The fewest different digits of an ID that counts as random. About one random ID in 5 × 10⁹ has
/// fewer; IDs that were typed often do.
const MIN_DISTINCT_DIGITS: usize = 7;
/// The longest run of equal digits in an ID that counts as random. About one random ID in 10⁷ has a
/// longer one.
const MAX_RUN: usize = 7;
/// The largest difference from an example at which an ID counts as derived from it.
const MAX_EXAMPLE_DISTANCE: u128 = 1_000;
/// The longest repeated sequence of digits that is detected: half of an ID. A random ID practically
/// never has equal halves.
const MAX_PERIOD: usize = 16;

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let found = context.traces_of(SERVICE).await?;
    let mut report = Report::best(
        found.iter().flat_map(|it| attempts(it, &found)),
        "a trace of the service by-hand",
        "none that started within --lookback (1h by default) has arrived; service.name must be an \
         attribute of the resource, not of a span, and times are in nanoseconds",
    );
    report.add_source(format!("the traces of {SERVICE}: {}", found.len()));
    context.report_older(&mut report, SERVICE).await;
    Ok(report)
}

/// The reports on a trace with each of its children, the latest first, or without a child. `all`
/// are the traces that may have the child instead.
fn attempts(found: &FoundTrace, all: &[FoundTrace]) -> Vec<Report> {
    let is_child = |row: &&Row| row.position == Position::Child;
    // If none passes, the report is that of the first, which should be the last one sent.
    let children = found.tree.rows().iter().rev().filter(is_child);
    let with_each: Vec<Report> = children.map(|it| assess(found, Some(it), all)).collect();
    if with_each.is_empty() {
        vec![assess(found, None, all)]
    } else {
        with_each
    }
}

fn assess(FoundTrace { id, tree }: &FoundTrace, child: Option<&Row>, all: &[FoundTrace]) -> Report {
    let mut report = Report::default();
    report.passed("a trace of the service by-hand", id);
    check_own_trace_id(&mut report, id);
    check_root(&mut report, tree);
    match child {
        Some(child) => check_child(&mut report, tree, child),
        None => report_no_child(&mut report, tree, all),
    }
    report
}

fn check_root(report: &mut Report, tree: &Tree) {
    let is_root = |row: &&Row| row.position == Position::Root;
    let roots: Vec<&Row> = tree.rows().iter().filter(is_root).collect();
    let what = "one span without a parent, the root";
    match roots.as_slice() {
        [] => report.missing(what, "every span names a parent"),
        [root] => {
            report.passed(what, name(root));
            check_span(report, root, ROOT, ROOT_DURATION);
        }
        more => {
            let names: Vec<String> = more.iter().map(|row| name(row)).collect();
            let (roots, names) = (more.len(), names.join(", "));
            report.wrong(what, format!("{roots} spans have no parent: {names}"));
        }
    }
}

fn check_child(report: &mut Report, tree: &Tree, child: &Row) {
    let above = child.parent.and_then(|parent| tree.rows().get(parent));
    let Some(parent) = above else {
        return;
    };
    let seen = format!("{} below {}", name(child), name(parent));
    match parent.position {
        Position::Root => report.passed(BELOW_ROOT, seen),
        _ => report.wrong(BELOW_ROOT, format!("{seen}, which is not the root")),
    }
    check_own_id(report, tree, child);
    check_span(report, child, CHILD, CHILD_DURATION);
    let (outer, inner) = (&parent.member, &child.member);
    // The query API moves a child that starts too early into its parent, so its times are not
    // enough to detect this.
    let begins_within = outer.start() <= inner.start() && !was_moved(inner);
    let what = "the child starts and ends within its parent";
    if !begins_within {
        let seen = "it starts before its parent; are its times in nanoseconds?";
        report.wrong(what, seen);
    } else if inner.end() > outer.end() {
        let late = short_duration(Duration::from_nanos(inner.end() - outer.end()));
        report.wrong(what, format!("it ends {late} after its parent"));
    } else {
        let [part, whole] = [inner, outer].map(|member| short_duration(member.duration()));
        report.passed(what, format!("{part} of {whole}"));
    }
}

/// Checks that no other span of the trace has the same ID.
pub(super) fn check_own_id(report: &mut Report, tree: &Tree, row: &Row) {
    let id = &row.member.span.span_id;
    let with_id = |other: &&Row| other.member.span.span_id == *id;
    let what = "a span ID that no other span of the trace has";
    match tree.rows().iter().filter(with_id).count() {
        1 => report.passed(what, value::hex(id)),
        spans => report.wrong(
            what,
            format!("{spans} spans have the ID {}", value::hex(id)),
        ),
    }
}

/// Checks a span's service, name and duration.
fn check_span(report: &mut Report, row: &Row, expected: &str, duration: Duration) {
    let shown = short_duration(duration);
    let what = format!("a span {expected:?} of {SERVICE} that takes {shown}");
    let (member, took) = (&row.member, row.member.duration());
    if member.service() != SERVICE {
        let service = printable(member.service());
        let seen = format!("{} belongs to service {service:?}", name(row));
        report.wrong(&what, seen);
    } else if member.span.name != expected {
        report.wrong(&what, format!("its name is {}", name(row)));
    // Compared exactly, since both times are written by hand and not measured.
    } else if took != duration {
        report.wrong(&what, format!("it takes {}", short_duration(took)));
    } else {
        report.passed(&what, "");
    }
}

fn report_no_child(report: &mut Report, tree: &Tree, all: &[FoundTrace]) {
    let is_lost = |row: &Row| row.position == Position::MissingParent;
    let is_parent = |of: &Row, row: &Row| row.member.span.span_id == of.member.span.parent_span_id;
    let seen = if let Some(lost) = tree.rows().iter().find(|row| is_lost(row)) {
        let (name, parent) = (name(lost), value::hex(&lost.member.span.parent_span_id));
        let seen = format!("{name} names {parent} as its parent, but the trace has no such span");
        match find_span(all, |row| is_parent(lost, row)) {
            Some((id, _)) => format!("{seen}; trace {id} has it, and both need the same traceId"),
            None => seen,
        }
    } else {
        let is_child = |row: &Row| {
            let mut own = tree.rows().iter();
            is_lost(row) && own.any(|parent| is_parent(row, parent))
        };
        match find_span(all, is_child) {
            Some((id, row)) => format!(
                "{} names a span of this trace as its parent, but is in trace {id}; both need the same traceId",
                name(row)
            ),
            None => {
                let spans = pluralize(tree.rows().len(), "span", "spans");
                format!("the trace has {spans}, none of which names another one as its parent")
            }
        }
    };
    report.missing(BELOW_ROOT, seen);
}

/// The first span of any trace for which the condition holds, and its trace's ID.
fn find_span(all: &[FoundTrace], is_match: impl Fn(&Row) -> bool) -> Option<(&str, &Row)> {
    let rows = |it| {
        let FoundTrace { id, tree }: &FoundTrace = it;
        tree.rows().iter().map(move |row| (id.as_str(), row))
    };
    all.iter().flat_map(rows).find(|(_, row)| is_match(row))
}

fn name(row: &Row) -> String {
    format!("{:?}", printable(&row.member.span.name))
}

/// True if the query API moved the span, because it started before its parent and that looked
/// like clock skew.
pub(super) fn was_moved(member: &Member) -> bool {
    let mut warnings = warnings::of(&member.span).into_iter();
    // Both warnings about moved spans have these words: about clock skew, and about other units.
    warnings.any(|warning| warning.contains("timestamps were adjusted"))
}

/// Checks that a trace ID shows no sign of being copied or typed. No check can prove that an ID is
/// random.
pub(super) fn check_own_trace_id(report: &mut Report, id: &str) {
    let what = "a trace ID of your own";
    match non_random_pattern(id) {
        Some(sign) => report.wrong(what, format!("{id} {sign}; generate a random one")),
        None => report.passed(what, ""),
    }
}

fn non_random_pattern(id: &str) -> Option<String> {
    let distinct = id.chars().collect::<HashSet<_>>().len();
    let is_example = |distance: u128| {
        let mut examples = EXAMPLE_TRACE_IDS.iter();
        examples.any(|it| number(it).abs_diff(number(id)) <= distance)
    };
    let repeats = |period| {
        let mut pairs = id.bytes().zip(id.bytes().skip(period));
        pairs.all(|(digit, later)| digit == later)
    };
    let is_run = |digits: &[u8]| digits.iter().all(|digit| Some(digit) == digits.first());
    let bytes = number(id).to_be_bytes();
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let mut steps = pairs.map(|(byte, next)| next.wrapping_sub(*byte));
    let first = steps.next();
    if is_example(0) {
        Some("is an example from a specification".to_owned())
    } else if is_example(MAX_EXAMPLE_DISTANCE) {
        Some("is next to an example from a specification".to_owned())
    } else if distinct < MIN_DISTINCT_DIGITS {
        Some(format!("has only {distinct} different digits"))
    } else if id.as_bytes().windows(MAX_RUN + 1).any(is_run) {
        Some(format!("has more than {MAX_RUN} equal digits in a row"))
    } else if (1..=MAX_PERIOD).any(repeats) {
        Some("repeats the same digits".to_owned())
    } else if steps.all(|step| Some(step) == first) {
        Some("counts up".to_owned())
    } else {
        None
    }
}

fn number(id: &str) -> u128 {
    u128::from_str_radix(id, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

    use super::*;
    use crate::traces::spans::span;

    fn passes(batches: Vec<ResourceSpans>) -> bool {
        let found = FoundTrace {
            id: "016220c2a05539cacbd7c7e677e51b14".to_owned(),
            tree: Tree::new(batches),
        };
        Report::best(attempts(&found, &[]), "", "").is_passed()
    }

    /// A span as the query API returns it, moved to another time.
    fn moved(mut batch: ResourceSpans) -> ResourceSpans {
        let spans = batch.scope_spans.iter_mut().flat_map(|it| &mut it.spans);
        spans.for_each(|span| warnings::add(span, "timestamps were adjusted".to_owned()));
        batch
    }

    #[test]
    fn rejects_other_names_times_and_services() {
        let tea = span(SERVICE, ROOT, 1, 0, 0, 80);
        let water = span(SERVICE, CHILD, 2, 1, 10, 70);
        assert!(passes(vec![tea.clone(), water.clone()]));
        for wrong in [
            span(SERVICE, "boil milk", 2, 1, 10, 70),
            span("kettle", CHILD, 2, 1, 10, 70),
            span(SERVICE, CHILD, 2, 1, 10, 40),
            span(SERVICE, CHILD, 2, 1, 10, 10),
            span(SERVICE, CHILD, 1, 1, 10, 70),
            span(SERVICE, CHILD, 2, 1, 30, 90),
            moved(span(SERVICE, CHILD, 2, 1, 10, 70)),
        ] {
            assert!(!passes(vec![tea.clone(), wrong.clone()]), "{wrong:?}");
        }
        let coffee = span(SERVICE, "make coffee", 1, 0, 0, 80);
        assert!(!passes(vec![coffee, water]));
    }

    #[rstest::rstest]
    #[case::no_root(9, 2, "\"boil water\" below \"make tea\", which is not the root")]
    #[case::same_id(0, 1, "2 spans have the ID")]
    fn wrong_child_is_not_reported_missing(#[case] above: u8, #[case] id: u8, #[case] seen: &str) {
        let tea = span(SERVICE, ROOT, 1, above, 0, 80);
        let water = span(SERVICE, CHILD, id, 1, 10, 70);
        let found = FoundTrace {
            id: "016220c2a05539cacbd7c7e677e51b14".to_owned(),
            tree: Tree::new(vec![tea, water]),
        };
        let report = Report::best(attempts(&found, &[]), "", "").to_string();
        let line = report.lines().find(|line| line.contains(seen));
        assert!(line.is_some_and(|line| line.contains("wrong")), "{report}");
    }

    #[test]
    fn accepts_a_corrected_child() {
        let tea = span(SERVICE, "make tea", 1, 0, 0, 80);
        let beside = span(SERVICE, "boil water", 2, 1, 90, 100);
        let within = span(SERVICE, "boil water", 3, 1, 10, 70);
        assert!(!passes(vec![tea.clone()]));
        assert!(!passes(vec![tea.clone(), beside.clone()]));
        assert!(passes(vec![tea.clone(), beside.clone(), within.clone()]));
        assert!(passes(vec![within, beside, tea]));
    }

    #[rstest::rstest]
    #[case(
        "11111111222222223333333344444444",
        Some("has only 4 different digits")
    )]
    #[case("00000000000000000000000012345678", Some("has more than 7 equal"))]
    #[case("4bf92f3577b34da6a3ce929d0e0e4736", Some("is an example"))]
    #[case("4bf92f3577b34da6a3ce929d0e0e4737", Some("is next to an example"))]
    #[case("0102030405060708090a0b0c0d0e0f10", Some("counts up"))]
    #[case("00112233445566778899aabbccddeeff", Some("counts up"))]
    #[case("12345678901234567890123456789012", Some("repeats"))]
    #[case("0123456789abcdef0123456789abcdef", Some("repeats"))]
    #[case("016220c2a05539cacbd7c7e677e51b14", None)]
    fn distinguishes_typed_from_random_ids(#[case] id: &str, #[case] sign: Option<&str>) {
        let found = non_random_pattern(id);
        assert_eq!(found.is_some(), sign.is_some(), "{found:?}");
        assert!(
            found
                .unwrap_or_default()
                .starts_with(sign.unwrap_or_default())
        );
    }

    #[test]
    fn names_a_child_in_another_trace() {
        let of = |id: &str, batch| FoundTrace {
            id: id.to_owned(),
            tree: Tree::new(vec![batch]),
        };
        let all = [
            of("aa", span(SERVICE, ROOT, 1, 0, 0, 80)),
            of("bb", span(SERVICE, CHILD, 2, 1, 10, 70)),
        ];
        for (found, other) in [(&all[0], "trace bb"), (&all[1], "trace aa")] {
            let report = Report::best(attempts(found, &all), "", "").to_string();
            assert!(
                report.contains("same traceId") && report.contains(other),
                "{report}"
            );
        }
    }
}
