//! Trees of well-formed and of inconsistent spans.

mod comparison;
mod flame;
mod groups;
mod operations;
mod over_represented;

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status, span::Event};
use proptest::prelude::*;
use rstest::rstest;
use spoor_traces::tree::{Position, Row, Tree, correct_clock_skew, members};

use crate::spans::{MS, a_to_b, batch, span, text};

fn tree(spans: Vec<Span>) -> Tree {
    Tree::new(vec![batch("service", spans)])
}

/// `name depth self-time critical-time` of each row, times in milliseconds.
fn outline(tree: &Tree) -> Vec<String> {
    let line = |row: &Row| {
        let (own, critical) = (row.self_time.as_millis(), row.critical_time().as_millis());
        format!("{} {} {own} {critical}", row.member.span.name, row.depth)
    };
    tree.rows().iter().map(line).collect()
}

/// The rows of the largest part, its milliseconds, and whether it dominates.
fn bottleneck(tree: &Tree) -> Option<(Vec<usize>, u128, bool)> {
    let found = tree.bottleneck()?;
    let dominates = found.is_dominant();
    Some((found.rows, found.time.as_millis(), dominates))
}

#[test]
fn two_services_make_one_tree() {
    let tree = Tree::new(a_to_b(1, 1_000, 100, true));
    let expected = [
        "GET / 0 10 10",
        "spoor.ab.v1.ServiceB/Work 1 9 9",
        "spoor.ab.v1.ServiceB/Work 2 9 9",
        "wait 3 100 100",
        "heavy_calc 3 162 162",
    ];
    assert_eq!(outline(&tree), expected);
    assert_eq!(tree.duration(), Duration::from_millis(290));
    assert_eq!(bottleneck(&tree), Some((vec![4], 162, true)));
    assert_eq!(tree.origin_of_errors(), Some(4));
    assert_eq!(tree.services(), [("service-a", 2), ("service-b", 3)]);
    assert_eq!(tree.errors(), 4);
}

#[test]
fn last_parallel_child_is_critical() {
    let tree = tree(vec![
        span(1, 1, 0, "root", 0, 100),
        span(1, 2, 1, "long", 10, 90),
        span(1, 3, 1, "short", 20, 50),
    ]);
    let expected = ["root 0 20 20", "long 1 80 80", "short 1 30 0"];
    assert_eq!(outline(&tree), expected);
}

#[test]
fn work_after_the_parent_is_not_critical() {
    let tree = tree(vec![
        span(1, 1, 0, "root", 0, 50),
        span(1, 2, 1, "outlives", 40, 70),
        span(1, 3, 1, "follows", 60, 80),
    ]);
    // The trace lasts 80 ms, of which its only root accounts for 50.
    let expected = ["root 0 40 40", "outlives 1 30 10", "follows 1 20 0"];
    assert_eq!(outline(&tree), expected);
}

#[test]
fn children_are_in_order_of_their_start() {
    let tree = tree(vec![
        span(1, 4, 1, "third", 30, 40),
        span(1, 3, 1, "second", 20, 30),
        span(1, 2, 1, "first", 10, 20),
        span(1, 1, 0, "root", 0, 50),
    ]);
    let names: Vec<&str> = tree
        .rows()
        .iter()
        .map(|row| row.member.span.name.as_str())
        .collect();
    assert_eq!(names, ["root", "first", "second", "third"]);
}

#[test]
fn orphan_is_a_root_with_missing_parent() {
    let tree = tree(vec![
        span(1, 2, 9, "orphan", 0, 10),
        span(1, 3, 2, "child", 1, 9),
    ]);
    let positions: Vec<Position> = tree.rows().iter().map(|row| row.position).collect();
    assert_eq!(positions, [Position::MissingParent, Position::Child]);
}

#[test]
fn cycles_are_shown_once() {
    let tree = tree(vec![
        span(1, 1, 2, "hen", 0, 10),
        span(1, 2, 1, "egg", 1, 9),
        span(1, 3, 3, "itself", 2, 3),
    ]);
    let rows: Vec<(&str, Position)> = tree
        .rows()
        .iter()
        .map(|row| (row.member.span.name.as_str(), row.position))
        .collect();
    let expected = [
        ("itself", Position::Cycle),
        ("hen", Position::Cycle),
        ("egg", Position::Child),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn repeated_siblings_are_one_bottleneck() {
    let select = |number: u64| {
        let start = number * 4;
        span(1, number + 10, 1, "SELECT", start, start + 3)
    };
    let spans = (0..300).map(select).chain([
        span(1, 1, 0, "GET /", 0, 1_500),
        span(1, 2, 1, "job", 1_250, 1_450),
    ]);
    let (rows, time, dominates) = bottleneck(&tree(spans.collect())).unwrap();
    assert_eq!((rows.len(), time, dominates), (300, 900, true));
}

/// Each call has a server span and a query below it: the queries have 20 parents.
#[test]
fn repeated_calls_are_one_bottleneck() {
    let call = |number: u64| {
        let (id, start) = (number * 10 + 10, number * 50);
        [
            span(1, id, 1, "Get", start, start + 50),
            span(1, id + 1, id, "Get", start + 1, start + 49),
            span(1, id + 2, id + 1, "SELECT", start + 5, start + 45),
        ]
    };
    let root = span(1, 1, 0, "GET /", 0, 1_000);
    let tree = tree((0..20).flat_map(call).chain([root]).collect());
    let (rows, time, _) = bottleneck(&tree).unwrap();
    assert_eq!((rows.len(), time), (20, 800));
    assert!(
        rows.iter()
            .all(|row| tree.rows()[*row].member.span.name == "SELECT")
    );
}

#[test]
fn bottleneck_of_equal_steps_is_not_dominant() {
    let step = |number: u64| {
        let start = number * 100;
        span(
            1,
            number + 2,
            1,
            &format!("step {number}"),
            start,
            start + 100,
        )
    };
    let tree = tree(
        (0..10)
            .map(step)
            .chain([span(1, 1, 0, "root", 0, 1_000)])
            .collect(),
    );
    assert_eq!(bottleneck(&tree), Some((vec![1], 100, false)));
}

#[test]
fn a_single_span_has_no_bottleneck() {
    assert_eq!(tree(vec![span(1, 1, 0, "root", 0, 100)]).bottleneck(), None);
}

/// Start and end of each row in milliseconds, with the number of warnings.
fn times(tree: &Tree) -> Vec<(u64, u64, usize)> {
    let rows = tree.rows().iter().map(|row| &row.member);
    rows.map(|it| (it.start() / MS, it.end() / MS, it.warnings().len()))
        .collect()
}

fn on_host(host: &str, spans: Vec<Span>) -> ResourceSpans {
    let mut batch = batch("service", spans);
    let attributes = &mut batch.resource.as_mut().unwrap().attributes;
    attributes.push(text("host.name", host));
    batch
}

#[rstest]
#[case::early(60, 110, (125, 175, 1))]
#[case::clock_behind(0, 50, (125, 175, 1))]
#[case::longer_than_its_parent(60, 360, (100, 400, 1))]
#[case::in_time(110, 160, (110, 160, 0))]
#[case::in_the_background(110, 260, (110, 260, 0))]
#[case::after_its_parent(300, 310, (300, 310, 0))]
fn an_early_child_is_moved(#[case] start: u64, #[case] end: u64, #[case] moved: (u64, u64, usize)) {
    let tree = Tree::new(vec![
        on_host("a", vec![span(1, 1, 0, "client", 100, 200)]),
        on_host("b", vec![span(1, 2, 1, "server", start, end)]),
    ]);
    assert_eq!(times(&tree), [(100, 200, 0), moved]);
}

#[test]
fn spans_of_a_host_move_together() {
    let mut server = span(1, 2, 1, "server", 60, 140);
    server.events = vec![Event {
        time_unix_nano: 70 * MS,
        ..Event::default()
    }];
    let tree = Tree::new(vec![
        on_host("a", vec![span(1, 1, 0, "client", 100, 200)]),
        on_host("b", vec![server, span(1, 3, 2, "query", 65, 135)]),
    ]);
    assert_eq!(times(&tree), [(100, 200, 0), (110, 190, 1), (115, 185, 1)]);
    assert_eq!(
        tree.rows()[1].member.span.events[0].time_unix_nano,
        120 * MS
    );
    assert_eq!(tree.duration(), Duration::from_millis(100));
}

#[test]
fn without_a_host_a_service_moves_together() {
    let tree = Tree::new(vec![
        batch("client", vec![span(1, 1, 0, "client", 100, 200)]),
        batch("server", vec![span(1, 2, 1, "server", 60, 140)]),
        batch("server", vec![span(1, 3, 2, "query", 65, 135)]),
    ]);
    assert_eq!(times(&tree), [(100, 200, 0), (110, 190, 1), (115, 185, 1)]);
}

/// One host has one clock, so the instrumentation reported the early start on purpose.
#[test]
fn an_early_child_on_the_same_host_stays() {
    let spans = vec![
        span(1, 1, 0, "root", 100, 200),
        span(1, 2, 1, "early", 50, 150),
    ];
    let tree = Tree::new(vec![on_host("a", spans)]);
    assert_eq!(times(&tree), [(100, 200, 0), (50, 150, 0)]);
    assert_eq!(tree.root().unwrap().self_time, Duration::from_millis(50));
    assert_eq!(tree.start(), 50 * MS);
    assert_eq!(tree.critical_time(), Duration::from_millis(100));
}

#[test]
fn a_second_correction_changes_nothing() {
    let mut batches = vec![
        on_host("a", vec![span(1, 1, 0, "client", 100, 200)]),
        on_host("b", vec![span(1, 2, 1, "server", 60, 110)]),
    ];
    correct_clock_skew(&mut batches);
    let once = batches.clone();
    correct_clock_skew(&mut batches);
    assert_eq!(batches, once);
}

/// The same span ID in two traces identifies two spans.
#[test]
fn traces_are_corrected_separately() {
    let mut batches = vec![
        on_host(
            "a",
            vec![
                span(1, 1, 0, "one", 100, 200),
                span(2, 1, 0, "other", 10, 20),
            ],
        ),
        on_host("b", vec![span(2, 2, 1, "child", 12, 13)]),
    ];
    let before = batches.clone();
    correct_clock_skew(&mut batches);
    assert_eq!(batches, before);
}

#[test]
fn span_exported_twice_is_included_once() {
    let batches: Vec<ResourceSpans> = [a_to_b(1, 0, 10, false), a_to_b(1, 0, 10, false)].concat();
    assert_eq!(Tree::new(batches).rows().len(), 5);
}

#[test]
fn ambiguous_ids_have_a_warning() {
    let one = |name| span(1, 2, 1, name, 0, 10);
    let spans = vec![
        span(1, 1, 0, "root", 0, 10),
        one("first"),
        one("second"),
        one("first"),
        span(1, 3, 3, "itself", 1, 2),
    ];
    let first = Tree::new(vec![batch("service", spans)]);
    // As a client of the query API builds it, from spans with warnings.
    let again = first.rows().iter().map(|row| row.member.span.clone());
    let again = Tree::new(vec![batch("service", again.collect())]);
    for tree in [first, again] {
        let warnings = |row: &Row| {
            let span = &row.member;
            (span.span.name.clone(), span.warnings().join("; "))
        };
        let mut found: Vec<_> = tree.rows().iter().map(warnings).collect();
        found.sort();
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], ("first".to_owned(), String::new()));
        assert_eq!(
            found[1].1,
            "Invalid parent: the span names itself as its parent"
        );
        assert_eq!(found[2], ("root".to_owned(), String::new()));
        assert!(found[3].1.starts_with("Duplicate span ID: "), "{found:?}");
        assert_eq!(found[3].1.matches("Duplicate").count(), 1);
    }
}

#[test]
fn no_spans_make_an_empty_tree() {
    let tree = Tree::new(Vec::new());
    assert!(tree.rows().is_empty());
    assert_eq!((tree.bottleneck(), tree.duration()), (None, Duration::ZERO));
}

#[test]
fn deep_chain_needs_no_deep_stack() {
    let spans = (1..=50_000).map(|id| span(1, id, id - 1, "link", id, 200_000 - id));
    let tree = tree(spans.collect());
    assert_eq!(tree.rows().last().map(|row| row.depth), Some(49_999));
}

/// Name, parent, start, end, and whether it has an error.
type Fields = (&'static str, u64, u64, u64, bool);

/// Any spans of one trace, named `a`, `b` and `c`.
fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let names = prop::sample::select(vec!["a", "b", "c"]);
    let spans = prop::collection::vec(
        (names, 0_u64..12, 0_u64..50, 0_u64..50, any::<bool>()),
        0..32,
    );
    let make = |(place, (name, parent, start, end, fails)): (usize, Fields)| {
        let mut span = span(1, place as u64 + 1, parent, name, start, end);
        span.status = fails.then(|| Status {
            code: 2,
            ..Status::default()
        });
        span
    };
    spans.prop_map(move |spans| spans.into_iter().enumerate().map(make).collect())
}

proptest! {
    /// Each span is included once, below its parent, and the critical path neither overlaps itself
    /// nor leaves the trace.
    #[test]
    fn any_spans_make_a_tree(
        spans in prop::collection::vec((1_u64..12, 0_u64..12, 0_u64..50, 0_u64..50), 0..24),
    ) {
        let make = |(place, (id, parent, start, end))| {
            span(1, id, parent, &format!("{place}"), start, end)
        };
        let spans: Vec<Span> = spans.into_iter().enumerate().map(make).collect();
        let count = spans.len();
        let tree = tree(spans);
        prop_assert_eq!(tree.rows().len(), count);
        for (index, row) in tree.rows().iter().enumerate() {
            let above = row.parent.map(|parent| tree.rows()[parent].depth + 1);
            prop_assert_eq!(row.depth, above.unwrap_or(0));
            prop_assert!(row.parent.is_none_or(|parent| parent < index));
            prop_assert!(row.self_time <= row.member.duration());
        }
        let mut path: Vec<_> = tree.rows().iter().flat_map(|row| row.critical.clone()).collect();
        path.sort_by_key(|segment| segment.start);
        for segment in &path {
            prop_assert!(segment.start < segment.end);
            prop_assert!(segment.start >= tree.start() && segment.end <= tree.end());
        }
        for pair in path.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
    }
}

#[test]
fn equal_resources_are_shared() {
    let one = |service: &str, id| batch(service, vec![span(1, id, 0, "GET /", 0, 1)]);
    let members = members(vec![
        one("service-a", 1),
        one("service-a", 2),
        one("service-b", 1),
    ]);
    let resources: Vec<_> = members.iter().map(|it| &it.resource).collect();
    assert_eq!(resources.len(), 3);
    assert!(std::sync::Arc::ptr_eq(resources[0], resources[1]));
    assert_ne!(resources[0], resources[2]);
}

#[test]
fn late_service_name_is_moved_to_front() {
    let mut late = batch("service-a", vec![span(1, 1, 0, "GET /", 0, 1)]);
    let attributes = &mut late.resource.as_mut().unwrap().attributes;
    attributes.splice(0..0, vec![text("key", "value"); 1_000]);
    let members = members(vec![late]);
    assert_eq!(members[0].service(), "service-a");
    assert_eq!(members[0].resource.attributes[0].key, "service.name");
}
