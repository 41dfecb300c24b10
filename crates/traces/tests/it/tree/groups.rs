//! Groups of repeated siblings.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use proptest::prelude::*;
use spoor_traces::tree::{Group, Row};

use super::{any_spans, tree};
use crate::spans::span;

#[test]
fn queries_in_a_loop_are_a_group() {
    let select = |id| span(1, id, 1, "SELECT order_line", id * 5, id * 5 + 4);
    let other = |id| span(1, id, 1, "UPDATE stock", id * 5 - 1, id * 5);
    let root = span(1, 1, 0, "GET /orders", 0, 2_000);
    let queries = (10..310).map(select).chain((400..404).map(other));
    let mut spans: Vec<_> = queries.chain([root]).collect();
    spans[7].status.as_mut().unwrap().code = 2;
    let tree = tree(spans);
    let groups = tree.groups();
    assert_eq!(groups.len(), 1, "4 are too few");
    let group = &groups[0];
    assert_eq!((group.first, group.count, group.errors), (1, 300, 1));
    assert_eq!(group.rows.len(), 300);
    assert_eq!(group.total, Duration::from_millis(1_200));
    assert_eq!(group.wall, group.total);
}

#[test]
fn alternating_siblings_are_two_groups() {
    let name = |id: u64| {
        if id.is_multiple_of(2) {
            "SELECT"
        } else {
            "UPDATE"
        }
    };
    let query = |id| span(1, id, 1, name(id), id, id + 1);
    let spans = (2..12).map(query).chain([span(1, 1, 0, "root", 0, 20)]);
    let tree = tree(spans.collect());
    let rows: Vec<Vec<usize>> = tree.groups().into_iter().map(|it| it.rows).collect();
    assert_eq!(rows, [vec![1, 3, 5, 7, 9], vec![2, 4, 6, 8, 10]]);
}

#[test]
fn parallel_siblings_take_less_time_than_total() {
    let query = |id| span(1, id, 1, "query", 10, 30);
    let spans = (2..8).map(query).chain([span(1, 1, 0, "root", 0, 40)]);
    let group = tree(spans.collect()).groups().remove(0);
    assert_eq!(group.total, Duration::from_millis(120));
    assert_eq!(group.wall, Duration::from_millis(20));
}

#[test]
fn orphans_of_different_parents_stay_apart() {
    let orphan = |id| span(1, id, 100 + id % 2, "job", id, id + 1);
    let few = tree((1..9).map(orphan).collect());
    assert!(few.groups().is_empty());
    let many = tree((1..11).map(orphan).collect());
    assert_eq!(many.groups().len(), 2);
}

proptest! {
    #[test]
    fn groups_are_disjoint_siblings(spans in any_spans()) {
        let tree = tree(spans);
        let groups = tree.groups();
        prop_assert!(groups.is_sorted_by_key(|group| group.first));
        let mut seen = HashSet::new();
        for group in &groups {
            prop_assert_eq!(group.rows.first(), Some(&group.first));
            prop_assert_eq!(group.rows.len(), group.count);
            prop_assert!(group.count >= Group::MIN_SIBLINGS);
            prop_assert!(group.wall <= group.total.min(tree.duration()));
            let rows: Vec<&Row> = group.rows.iter().map(|row| &tree.rows()[*row]).collect();
            let total: Duration = rows.iter().map(|row| row.member.duration()).sum();
            prop_assert_eq!(total, group.total);
            for row in rows {
                prop_assert_eq!(row.parent, tree.rows()[group.first].parent);
                prop_assert_eq!(&row.member.span.name, &tree.rows()[group.first].member.span.name);
            }
            prop_assert!(group.rows.iter().all(|row| seen.insert(*row)));
        }
        let mut siblings: HashMap<_, usize> = HashMap::new();
        for row in tree.rows() {
            *siblings.entry((row.member.parent_id(), &row.member.span.name)).or_default() += 1;
        }
        let repeated = siblings.values().filter(|count| **count >= Group::MIN_SIBLINGS);
        prop_assert!(groups.len() <= repeated.count());
    }
}
