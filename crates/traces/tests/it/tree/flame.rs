//! Flame graphs.

use std::time::Duration;

use proptest::prelude::*;
use spoor_traces::tree::{FlameFrame, FlameGraph};

use super::{any_spans, tree};
use crate::spans::span;

/// `name depth start width self-time count` of each frame, times in milliseconds.
fn outline(graph: &FlameGraph<'_>) -> Vec<String> {
    let line = |it: &FlameFrame<'_>| {
        let name = it.work.map_or("other", |(_, operation)| operation);
        let times = [it.start, it.width, it.self_time].map(|time| time.as_millis().to_string());
        format!("{name} {} {} {}", it.depth, times.join(" "), it.count)
    };
    graph.frames.iter().map(line).collect()
}

#[test]
fn spans_of_one_path_are_merged() {
    let tree = tree(vec![
        span(1, 1, 0, "root", 0, 100),
        span(1, 2, 1, "query", 10, 30),
        span(1, 3, 2, "read", 15, 20),
        span(1, 4, 1, "render", 30, 40),
        span(1, 5, 1, "query", 50, 80),
        span(1, 6, 5, "read", 50, 60),
    ]);
    let graph = tree.flame_graph();
    let expected = [
        "root 0 0 100 40 1",
        "query 1 0 50 35 2",
        "read 2 0 15 15 2",
        "render 1 50 10 10 1",
    ];
    assert_eq!(outline(&graph), expected);
    assert_eq!(graph.width, Duration::from_millis(100));
}

#[test]
fn narrowest_paths_are_merged_into_others() {
    let child = |id: u64| {
        let start = id * 10;
        let length = if id == 4_000 { 9 } else { 1 };
        span(1, id, 1, &format!("step {id}"), start, start + length)
    };
    let children = (2..20_000).map(child);
    let tree = tree(
        children
            .chain([span(1, 1, 0, "root", 0, 200_000)])
            .collect(),
    );
    let graph = tree.flame_graph();
    assert!(graph.frames.len() <= FlameGraph::MAX_FRAMES);
    let names: Vec<_> = graph.frames.iter().map(|it| it.work).collect();
    assert!(names.contains(&Some(("service", "step 4000"))));
    let other = graph.frames.last().unwrap();
    assert_eq!((other.work, other.parent, other.depth), (None, Some(0), 1));
    let spans: usize = graph.frames.iter().map(|it| it.count).sum();
    assert_eq!(spans, 19_999);
    assert_eq!(graph.width, Duration::from_millis(200_000));
}

#[test]
fn chain_deeper_than_the_bound_ends_in_others() {
    let link = |id: u64| span(1, id, id - 1, "link", id, 200_000 - id);
    let tree = tree((1..=20_000).map(link).collect());
    let graph = tree.flame_graph();
    assert!(graph.frames.len() <= FlameGraph::MAX_FRAMES);
    let other = graph.frames.last().unwrap();
    assert_eq!((other.work, other.depth), (None, graph.frames.len() - 1));
    assert_eq!(other.count + other.depth, 20_000);
}

proptest! {
    #[test]
    fn frames_lie_within_their_parents(spans in any_spans()) {
        let tree = tree(spans);
        let graph = tree.flame_graph();
        let all: Duration = tree.rows().iter().map(|row| row.self_time).sum();
        prop_assert_eq!(graph.width, all);
        let counts: usize = graph.frames.iter().map(|it| it.count).sum();
        prop_assert_eq!(counts, tree.rows().len());
        // The right edge of the last child of each frame, and of the graph.
        let mut edges = vec![Duration::ZERO];
        for (index, frame) in graph.frames.iter().enumerate() {
            prop_assert!(frame.parent.is_none_or(|parent| parent < index));
            let slot = frame.parent.map_or(0, |parent| parent + 1);
            prop_assert_eq!(frame.start, edges[slot]);
            edges[slot] += frame.width;
            edges.push(frame.start);
            let depth = frame.parent.map_or(0, |parent| graph.frames[parent].depth + 1);
            prop_assert_eq!(frame.depth, depth);
        }
        for (frame, edge) in graph.frames.iter().zip(&edges[1..]) {
            prop_assert_eq!(*edge + frame.self_time, frame.start + frame.width);
        }
    }
}
