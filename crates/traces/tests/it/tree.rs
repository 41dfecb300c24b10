//! Trees, on spans that are well formed and on spans that are not.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use proptest::prelude::*;
use spoor_traces::tree::{Place, Tree};

use crate::spans::{MS, a_to_b, batch, span};

fn tree(spans: Vec<Span>) -> Tree {
    Tree::new(vec![batch("service", spans)])
}

/// `name depth self-time critical-time` of each row, times in milliseconds.
fn outline(tree: &Tree) -> Vec<String> {
    let line = |row: &spoor_traces::tree::Row| {
        let (own, critical) = (row.self_time.as_millis(), row.critical_time().as_millis());
        format!("{} {} {own} {critical}", row.member.span.name, row.depth)
    };
    tree.rows().iter().map(line).collect()
}

#[test]
fn a_request_through_two_services() {
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
    assert_eq!(tree.slowest(), Some(4));
    assert_eq!(tree.origin_of_errors(), Some(4));
    assert_eq!(tree.services(), [("service-a", 2), ("service-b", 3)]);
    assert_eq!(tree.errors(), 4);
}

#[test]
fn of_parallel_children_the_last_to_finish_is_critical() {
    let tree = tree(vec![
        span(1, 1, 0, "root", 0, 100),
        span(1, 2, 1, "long", 10, 90),
        span(1, 3, 1, "short", 20, 50),
    ]);
    let expected = ["root 0 20 20", "long 1 80 80", "short 1 30 0"];
    assert_eq!(outline(&tree), expected);
}

#[test]
fn work_after_the_answer_is_not_critical_for_it() {
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
fn a_missing_parent_makes_a_root_that_says_so() {
    let tree = tree(vec![
        span(1, 2, 9, "orphan", 0, 10),
        span(1, 3, 2, "child", 1, 9),
    ]);
    let places: Vec<Place> = tree.rows().iter().map(|row| row.place).collect();
    assert_eq!(places, [Place::MissingParent, Place::Child]);
}

#[test]
fn cycles_are_shown_once() {
    let tree = tree(vec![
        span(1, 1, 2, "hen", 0, 10),
        span(1, 2, 1, "egg", 1, 9),
        span(1, 3, 3, "itself", 2, 3),
    ]);
    let rows: Vec<(&str, Place)> = tree
        .rows()
        .iter()
        .map(|row| (row.member.span.name.as_str(), row.place))
        .collect();
    let expected = [
        ("itself", Place::Cycle),
        ("hen", Place::Cycle),
        ("egg", Place::Child),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_child_before_its_parent_does_not_lengthen_it() {
    let tree = tree(vec![
        span(1, 1, 0, "root", 100, 200),
        span(1, 2, 1, "early", 50, 150),
    ]);
    let root = tree.root().unwrap();
    assert_eq!(root.self_time, Duration::from_millis(50));
    assert_eq!(tree.start(), 50 * MS);
    let critical: Duration = tree.rows().iter().map(|row| row.critical_time()).sum();
    assert_eq!(critical, Duration::from_millis(100));
}

#[test]
fn a_span_exported_twice_is_there_once() {
    let batches: Vec<ResourceSpans> = [a_to_b(1, 0, 10, false), a_to_b(1, 0, 10, false)].concat();
    assert_eq!(Tree::new(batches).rows().len(), 5);
}

#[test]
fn nothing_is_a_tree_too() {
    let tree = Tree::new(Vec::new());
    assert!(tree.rows().is_empty());
    assert_eq!((tree.slowest(), tree.duration()), (None, Duration::ZERO));
}

#[test]
fn a_chain_of_fifty_thousand_spans_needs_no_deep_stack() {
    let spans = (1..=50_000).map(|id| span(1, id, id - 1, "link", id, 200_000 - id));
    let tree = tree(spans.collect());
    assert_eq!(tree.rows().last().map(|row| row.depth), Some(49_999));
}

proptest! {
    /// Whatever the spans: each is there once, below its parent, and the critical path neither
    /// overlaps nor leaves the trace.
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
