//! Statistics by operation.

use std::time::Duration;

use proptest::prelude::*;
use spoor_traces::tree::{OperationStatistics, Tree};

use super::{any_spans, tree};
use crate::spans::{a_to_b, span};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn operation_with_most_self_time_is_first() {
    let tree = Tree::new(a_to_b(1, 1_000, 100, true));
    let operations = tree.operations();
    let found: Vec<_> = operations
        .iter()
        .map(|it| (it.service, it.operation, it.errors, it.self_time))
        .collect();
    let work = "spoor.ab.v1.ServiceB/Work";
    let expected = [
        ("service-b", "heavy_calc", 1, ms(162)),
        ("service-b", "wait", 0, ms(100)),
        ("service-a", "GET /", 1, ms(10)),
        ("service-a", work, 1, ms(9)),
        ("service-b", work, 1, ms(9)),
    ];
    assert_eq!(found, expected);
    assert_eq!(operations[0].critical_time, ms(162));
}

#[test]
fn percentiles_are_durations_that_occurred() {
    let step = |number: u64| span(1, number + 1, 1, "step", number * 100, number * 101);
    let root = span(1, 1, 0, "root", 0, 10_000);
    let tree = tree((1..=40).map(step).chain([root]).collect());
    let operations = tree.operations();
    let steps = operations.iter().find(|it| it.operation == "step").unwrap();
    assert_eq!((steps.count, steps.max), (40, ms(40)));
    assert_eq!((steps.p50, steps.p95), (ms(20), ms(38)));
    assert_eq!(steps.total, ms(820));
    let root = operations.iter().find(|it| it.operation == "root").unwrap();
    assert_eq!(
        (root.p50, root.p95, root.max),
        (ms(10_000), ms(10_000), ms(10_000))
    );
}

proptest! {
    #[test]
    fn figures_add_up(spans in any_spans()) {
        let tree = tree(spans);
        let operations = tree.operations();
        let sum = |of: fn(&OperationStatistics<'_>) -> Duration| {
            operations.iter().map(of).sum::<Duration>()
        };
        let counts: usize = operations.iter().map(|it| it.count).sum();
        prop_assert_eq!(counts, tree.rows().len());
        prop_assert_eq!(operations.iter().map(|it| it.errors).sum::<usize>(), tree.errors());
        prop_assert_eq!(sum(|it| it.critical_time), tree.critical_time());
        let self_time: Duration = tree.rows().iter().map(|row| row.self_time).sum();
        prop_assert_eq!(sum(|it| it.self_time), self_time);
        prop_assert!(operations.is_sorted_by(|a, b| a.self_time >= b.self_time));
        for it in &operations {
            prop_assert!(it.p50 <= it.p95 && it.p95 <= it.max && it.max <= it.total);
        }
    }
}
