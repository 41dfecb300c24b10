//! Tests of the history with policies as a backend returns them.

#![allow(clippy::unwrap_used)]

use spoor_api::{
    Head, Metadata, SamplingPolicyStatus,
    status::{Clients, ConditionUpdate, conditions},
};

use super::*;

/// A policy of this name and generation, created under this unique ID.
fn policy(name: &str, generation: i64) -> SamplingPolicy {
    let metadata = Metadata {
        generation: Some(generation),
        uid: Some("first".to_owned()),
        ..Metadata::named(name)
    };
    let head = Head {
        probability: Some(format!("{generation}%")),
        rate_limit: None,
    };
    let spec = SamplingPolicySpec {
        head: Some(head),
        ..SamplingPolicySpec::default()
    };
    SamplingPolicy::new(metadata, spec)
}

/// A policy with the status that every instance has a generation, after these milliseconds.
fn converged(policy: SamplingPolicy, generation: i64, milliseconds: u64) -> SamplingPolicy {
    let update = ConditionUpdate::new(ConditionStatus::True, "AllCurrent", "");
    let updates = [(Condition::CONVERGED, update)];
    let clients = Clients {
        slowest_milliseconds: Some(milliseconds),
        ..Clients::default()
    };
    let status = SamplingPolicyStatus {
        conditions: conditions(updates, Some(generation), &[], at(0)),
        clients: Some(clients),
        ..SamplingPolicyStatus::default()
    };
    SamplingPolicy {
        status: Some(status),
        ..policy
    }
}

/// A policy with an observed rate.
fn observed(policy: SamplingPolicy, rate: &str, sampled: u64) -> SamplingPolicy {
    let observed = Observed {
        window_seconds: 60,
        started: 1_000,
        sampled,
        rate: Some(rate.to_owned()),
        lower: Some("0.012345%".to_owned()),
        upper: Some("100%".to_owned()),
        ..Observed::default()
    };
    let status = SamplingPolicyStatus {
        observed: Some(observed),
        ..SamplingPolicyStatus::default()
    };
    SamplingPolicy {
        status: Some(status),
        ..policy
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key(name: &str) -> PolicyKey {
    PolicyKey {
        namespace: Namespace::default(),
        name: name.parse().unwrap(),
    }
}

fn kinds(history: &History, name: &str) -> Vec<ChangeKind> {
    let changes = history.changes(&key(name)).into_iter();
    changes.map(|change| change.kind).collect()
}

#[test]
fn changes_are_recorded_newest_first() {
    let history = History::new();
    history.record(&[policy("a", 1)], at(0));
    // Nothing is known about the time before the first read.
    assert!(kinds(&history, "a").is_empty());
    history.record(&[policy("a", 1), policy("b", 1)], at(1));
    history.record(&[policy("a", 2), policy("b", 1)], at(2));
    history.record(&[policy("b", 1)], at(3));
    let expected = [ChangeKind::Deleted, ChangeKind::Changed];
    assert_eq!(kinds(&history, "a"), expected);
    assert_eq!(kinds(&history, "b"), [ChangeKind::Created]);
    let changed = history.changes(&key("a")).pop().unwrap();
    assert_eq!((changed.time, &*changed.strategy), (at(2), "2%"));
}

#[test]
fn same_name_may_be_another_policy() {
    let history = History::new();
    history.record(&[policy("a", 1)], at(0));
    let mut second = policy("a", 1);
    second.metadata.uid = Some("second".to_owned());
    history.record(&[second], at(1));
    assert_eq!(kinds(&history, "a"), [ChangeKind::Created]);
}

#[test]
fn expiry_is_recorded_once() {
    let history = History::new();
    let mut expiring = policy("a", 1);
    expiring.spec.expires_at = Some(at(10).to_string());
    for second in [0, 9, 12, 13] {
        history.record(std::slice::from_ref(&expiring), at(second));
    }
    assert_eq!(kinds(&history, "a"), [ChangeKind::Expired]);
    assert_eq!(history.changes(&key("a"))[0].time, at(10));
}

#[test]
fn convergence_completes_its_generation_only() {
    let history = History::new();
    let milliseconds = || history.changes(&key("a"))[0].milliseconds;
    history.record(&[converged(policy("a", 1), 1, 40)], at(0));
    // The status is still the one of the first generation.
    history.record(&[converged(policy("a", 2), 1, 40)], at(1));
    assert_eq!(milliseconds(), None);
    history.record(&[converged(policy("a", 2), 2, 80)], at(2));
    assert_eq!(milliseconds(), Some(80));
    // A later acknowledgement is that of an instance that has started since.
    history.record(&[converged(policy("a", 2), 2, 9_000)], at(3));
    assert_eq!(milliseconds(), Some(80));
}

#[test]
fn author_is_read_from_the_annotation() {
    let history = History::new();
    history.record(&[], at(0));
    let mut by = policy("a", 1);
    let annotation = (CHANGED_BY.to_owned(), "kubectl".to_owned());
    by.metadata.annotations = BTreeMap::from([annotation]);
    history.record(&[by], at(1));
    let created = history.changes(&key("a")).pop().unwrap();
    assert_eq!(created.by.as_deref(), Some("kubectl"));
}

#[test]
fn rates_are_recorded_while_they_change() {
    let history = History::new();
    let record = |rate: &str, second| {
        let observed = observed(policy("a", 1), rate, 30);
        history.record(&[observed], at(second));
    };
    record("0.98%", 0);
    record("0.99%", 4);
    record("0.98%", 5);
    record("1%", 10);
    let points = history.observed(&key("a"));
    let seen: Vec<(Timestamp, f64)> = points.iter().map(|it| (it.time, it.rate)).collect();
    assert_eq!(seen, [(at(0), 0.0098), (at(10), 0.01)]);
    assert_eq!(points[0].kept_per_second, 0.5);
    assert!((points[0].lower - 0.00012345).abs() < 1e-12);
    history.record(&[], at(11));
    assert!(history.observed(&key("a")).is_empty());
}

#[test]
fn everything_is_bounded() {
    let history = History::new();
    history.record(&[], at(0));
    let names: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    for generation in 1..=110 {
        let policies = names.iter().map(|name| {
            let rate = format!("0.{generation}%");
            observed(policy(name, generation), &rate, 30)
        });
        let policies: Vec<SamplingPolicy> = policies.collect();
        history.record(&policies, at(generation * 10));
    }
    let changes = names.iter().map(|name| history.changes(&key(name)).len());
    let changes: Vec<usize> = changes.collect();
    assert_eq!(changes.iter().sum::<usize>(), MAX_CHANGES);
    // The newest of each policy stay.
    assert!(changes.iter().all(|count| (66..=67).contains(count)));
    let alone = History::new();
    for generation in 0..=300 {
        let rate = format!("0.{generation:03}%");
        let policy = observed(policy("a", generation), &rate, 30);
        alone.record(&[policy], at(generation * 10));
    }
    assert_eq!(alone.changes(&key("a")).len(), MAX_CHANGES_OF_POLICY);
    assert_eq!(alone.observed(&key("a")).len(), MAX_POINTS_OF_POLICY);
}
