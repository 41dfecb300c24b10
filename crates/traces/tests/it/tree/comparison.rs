//! Comparisons of two traces.

use std::time::Duration;

use proptest::prelude::*;
use spoor_traces::tree::{ComparedPath, PathTimes, TreeComparison};

use super::{any_spans, tree};
use crate::spans::span;

/// `name depth first-count second-count difference` of each path, in milliseconds.
fn outline(comparison: &TreeComparison<'_>) -> Vec<String> {
    let count = |times: Option<PathTimes>| times.map_or(0, |it| it.count);
    let paths = comparison.paths.iter();
    let lines = paths.map(|it| {
        let (first, second) = (count(it.first), count(it.second));
        let difference = (it.difference() * 1e3).round();
        format!(
            "{} {} {first} {second} {difference}",
            it.operation, it.depth
        )
    });
    lines.collect()
}

#[test]
fn paths_are_matched_across_traces() {
    let fast = tree(vec![
        span(1, 1, 0, "root", 0, 100),
        span(1, 2, 1, "cache", 0, 10),
        span(1, 3, 1, "render", 20, 40),
    ]);
    let slow = tree(vec![
        span(2, 1, 0, "root", 0, 400),
        span(2, 2, 1, "query", 0, 100),
        span(2, 3, 2, "read", 0, 50),
        span(2, 4, 1, "query", 100, 200),
        span(2, 5, 1, "render", 220, 240),
    ]);
    let comparison = fast.compare(&slow);
    let expected = [
        "root 0 1 1 300",
        "cache 1 1 0 -10",
        "render 1 1 1 0",
        "query 1 0 2 200",
        "read 2 0 1 50",
    ];
    assert_eq!(outline(&comparison), expected);
    let durations = [100, 400].map(Duration::from_millis);
    assert_eq!(comparison.root_durations, durations);
    assert_eq!(comparison.paths[1].second, None);
    assert_eq!(comparison.paths[3].first, None);
    let of_query = (comparison.paths[3].self_difference() * 1e3).round();
    assert!((of_query - 150.0).abs() < f64::EPSILON);
}

#[test]
fn empty_trees_have_no_paths() {
    let (first, second) = (tree(vec![]), tree(vec![]));
    let comparison = first.compare(&second);
    assert!(comparison.paths.is_empty());
    assert_eq!(comparison.root_durations, [Duration::ZERO; 2]);
}

proptest! {
    #[test]
    fn comparison_covers_both_traces(first in any_spans(), second in any_spans()) {
        let (first, second) = (tree(first), tree(second));
        let comparison = first.compare(&second);
        let paths = &comparison.paths;
        let total = |side: fn(&ComparedPath<'_>) -> Option<PathTimes>| {
            paths.iter().filter_map(side).map(|it| it.count).sum::<usize>()
        };
        prop_assert_eq!(total(|path| path.first), first.rows().len());
        prop_assert_eq!(total(|path| path.second), second.rows().len());
        prop_assert!(paths.iter().all(|it| it.first.is_some() || it.second.is_some()));
        for pair in paths.windows(2) {
            prop_assert!(pair[1].depth <= pair[0].depth + 1);
        }
        let mirrored = second.compare(&first);
        prop_assert_eq!(mirrored.paths.len(), paths.len());
        let itself = first.compare(&first);
        prop_assert!(itself.paths.iter().all(|it| it.first == it.second));
    }
}
