//! Features that distinguish some traces from others.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use proptest::prelude::*;
use spoor_traces::tree::{Feature, Tree, features, over_represented};

use super::tree;
use crate::spans::{a_to_b, attribute, span, text};

fn tag(key: &str, value: impl ToString) -> Feature {
    Feature::Attribute {
        key: key.to_owned(),
        value: value.to_string(),
    }
}

/// Traces with these numbers of one feature and without it.
fn traces(with: usize, without: usize) -> Vec<BTreeSet<Feature>> {
    let has = |has: bool| BTreeSet::from([tag("cached", !has)]);
    let with = (0..with).map(|_| has(true));
    with.chain((0..without).map(|_| has(false))).collect()
}

#[test]
fn features_are_services_operations_and_tags() {
    let features = features(&Tree::new(a_to_b(1, 1_000, 100, false)));
    let operation = Feature::Operation {
        service: "service-b".to_owned(),
        operation: "heavy_calc".to_owned(),
    };
    let expected = [
        Feature::Service("service-a".to_owned()),
        operation,
        tag("http.route", "/"),
        tag("calc.share", 0.25),
        tag("calc.cached", false),
        tag("service.namespace", "demo"),
    ];
    for feature in expected {
        assert!(features.contains(&feature), "{feature:?} {features:#?}");
    }
    let has_key = |key: &str| {
        let mut features = features.iter();
        features.any(|it| matches!(it, Feature::Attribute { key: found, .. } if found == key))
    };
    assert!(!has_key("service.name") && !has_key("calc.seed"));
}

#[test]
fn features_of_a_trace_are_bounded() {
    let make = |id| {
        let mut span = span(1, id, 0, "job", id, id + 1);
        let number = |n: i64| attribute(&format!("key-{id}-{n}"), Value::IntValue(n));
        span.attributes = (0..100).map(number).collect();
        span.attributes.push(text("long", &"x".repeat(10_000)));
        span
    };
    let features = features(&tree((1..100).map(make).collect()));
    assert!(features.len() <= 2_000, "{}", features.len());
    let is_long = |it: &Feature| matches!(it, Feature::Attribute { key, .. } if key == "long");
    assert!(!features.iter().any(is_long));
}

#[test]
fn finds_what_slow_traces_have_in_common() {
    let slow = traces(9, 1);
    let fast = traces(5, 45);
    let findings = over_represented(&slow, &fast);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = &findings[0];
    assert_eq!(found.feature, tag("cached", false));
    assert_eq!((found.selected, found.rest), (9, 5));
    assert!((found.difference - 0.8).abs() < 1e-9);
    // Two features were tested, of equal p-values.
    assert!(found.p < 1e-5 && (found.adjusted_p - found.p * 2.0).abs() < 1e-12);
}

#[test]
fn ids_and_shared_features_are_not_tested() {
    let trace = |id: usize| BTreeSet::from([tag("id", id / 2), tag("zone", "eu")]);
    let selected: Vec<_> = (0..500).map(trace).collect();
    let rest: Vec<_> = (500..1_000).map(trace).collect();
    assert!(over_represented(&selected, &rest).is_empty());
}

#[test]
fn adjusted_p_values_never_decrease() {
    let tags = |of: u64| (0_u64..40).filter(move |bit| of.is_multiple_of(bit + 2));
    let trace = |of| -> BTreeSet<Feature> {
        let divisors = tags(of).map(|bit| tag("divisor", bit + 2));
        divisors.collect()
    };
    let selected: Vec<BTreeSet<Feature>> = (2..200).step_by(2).map(trace).collect();
    let rest: Vec<BTreeSet<Feature>> = (1..200).step_by(3).map(trace).collect();
    let findings = over_represented(&selected, &rest);
    assert!(findings.len() > 3, "{findings:?}");
    assert!(findings.is_sorted_by(|a, b| a.p <= b.p && a.adjusted_p <= b.adjusted_p));
    assert!(
        findings
            .iter()
            .all(|it| it.p <= it.adjusted_p && it.difference > 0.0)
    );
}

proptest! {
    #[test]
    fn finding_is_symmetric(
        with in prop::array::uniform2(1_usize..30),
        without in prop::array::uniform2(1_usize..30),
    ) {
        let [selected, rest] = [0, 1].map(|set| traces(with[set], without[set]));
        let one = over_represented(&selected, &rest);
        let other = over_represented(&rest, &selected);
        // Of the feature and its opposite, each side has one too often, unless they are equal.
        prop_assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(&other) {
            prop_assert!((0.0..=1.0).contains(&one.p));
            prop_assert!((one.p - other.p).abs() < 1e-9);
            prop_assert!((one.difference - other.difference).abs() < 1e-9);
        }
    }
}
