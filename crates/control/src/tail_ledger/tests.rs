#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use rstest::rstest;
use spoor_policy::{
    Namespace, Policy, PolicyFields, PolicyKey, Rule, RuleCondition, TailPolicy, Version, resolve,
};

use super::*;
use crate::tail_rules::ServedRules;

const EPOCH: u64 = 7;

/// Rules of the policies `one` and `two` at each of these sequences.
fn history(sequences: &[u64]) -> RulesHistory {
    let policy = |name: &str, service: &str| {
        let rule = |name: &str| Rule {
            name: name.parse().unwrap(),
            condition: RuleCondition::Error,
        };
        let keep = vec![rule("errors"), rule("slow")];
        let tail = TailPolicy::new(keep, "10%".parse().unwrap()).unwrap();
        let target = spoor_policy::Target {
            service: service.parse().unwrap(),
            operations: vec![],
        };
        Policy::new(PolicyFields {
            key: PolicyKey {
                namespace: Namespace::default(),
                name: name.parse().unwrap(),
            },
            priority: 0,
            created: Timestamp::UNIX_EPOCH,
            targets: vec![target],
            head: None,
            tail: Some(tail),
            expires_at: None,
        })
        .unwrap()
    };
    let policies = [policy("one", "a"), policy("two", "b")];
    let table = resolve(&policies, Timestamp::UNIX_EPOCH).tail;
    let mut history = RulesHistory::default();
    for sequence in sequences {
        let version = Version {
            epoch: EPOCH,
            sequence: *sequence,
        };
        let served = ServedRules::new(&table, &Namespace::default(), version, None);
        history.push(&served);
    }
    history
}

fn count(sequence: u64, policy: &str, errors: u64, unmatched: (u64, u64)) -> proto::TailCount {
    proto::TailCount {
        version: Some(proto::Version {
            epoch: EPOCH,
            sequence,
        }),
        policy: policy.to_owned(),
        decided: errors + unmatched.0,
        rules: vec![proto::RuleCount {
            rule: "errors".to_owned(),
            kept: errors,
        }],
        unmatched: unmatched.0,
        unmatched_kept: unmatched.1,
    }
}

/// Applies a report of a process that was sent these sequences.
fn apply(
    ledger: &mut TailLedger,
    history: &RulesHistory,
    sent: &[u64],
    counts: &[proto::TailCount],
) -> Result<Vec<(u64, u64, u64)>, Rejection> {
    let context = TailReportContext {
        epoch: EPOCH,
        history,
        sent,
        max_decided: 1_000,
    };
    let deltas = ledger.apply(counts, &context)?;
    let numbers = deltas.iter().map(|TailDelta { decisions, .. }| {
        let kept: u64 = decisions.by_rule.values().sum();
        (kept, decisions.unmatched, decisions.unmatched_kept)
    });
    Ok(numbers.collect())
}

#[test]
fn increases_are_by_policy_and_version() {
    let history = history(&[1, 2]);
    let mut ledger = TailLedger::default();
    let first = [count(1, "one", 5, (100, 10)), count(1, "two", 1, (0, 0))];
    assert_eq!(
        apply(&mut ledger, &history, &[1, 2], &first),
        Ok(vec![(5, 100, 10), (1, 0, 0)])
    );
    assert_eq!(apply(&mut ledger, &history, &[1, 2], &first), Ok(vec![]));
    let second = [
        count(1, "one", 6, (150, 12)),
        count(1, "two", 1, (0, 0)),
        count(2, "two", 3, (0, 0)),
    ];
    assert_eq!(
        apply(&mut ledger, &history, &[1, 2], &second),
        Ok(vec![(1, 50, 2), (3, 0, 0)])
    );
}

#[rstest]
#[case::no_version(proto::TailCount { version: None, ..count(1, "one", 1, (0, 0)) }, Rejection::NoVersion)]
#[case::a_later_version(count(3, "one", 1, (0, 0)), Rejection::NeverSent)]
#[case::an_unknown_policy(count(1, "other", 1, (0, 0)), Rejection::UnknownPolicy)]
#[case::an_invalid_policy_name(count(1, "\n", 1, (0, 0)), Rejection::UnknownPolicy)]
#[case::an_unknown_rule(
    proto::TailCount {
        rules: vec![proto::RuleCount { rule: "other".to_owned(), kept: 1 }],
        ..count(1, "one", 1, (0, 0))
    },
    Rejection::UnknownRule
)]
#[case::a_rule_twice(
    proto::TailCount {
        rules: vec![proto::RuleCount { rule: "errors".to_owned(), kept: 5 }; 2],
        ..count(1, "one", 10, (0, 0))
    },
    Rejection::CountedTwice
)]
#[case::a_policy_twice(count(1, "two", 1, (0, 0)), Rejection::CountedTwice)]
#[case::more_kept_than_unmatched(count(1, "one", 5, (100, 101)), Rejection::KeptOverDecided)]
#[case::another_sum(
    proto::TailCount { decided: 106, ..count(1, "one", 5, (100, 10)) },
    Rejection::SumMismatch
)]
#[case::a_sum_that_overflows(
    proto::TailCount { unmatched: u64::MAX, ..count(1, "one", 5, (0, 0)) },
    Rejection::SumMismatch
)]
#[case::fewer_by_a_rule(count(1, "one", 4, (101, 10)), Rejection::Decreased)]
#[case::a_rule_is_missing(
    proto::TailCount { rules: vec![], decided: 100, ..count(1, "one", 5, (100, 10)) },
    Rejection::Decreased
)]
#[case::fewer_unmatched(count(1, "one", 6, (99, 10)), Rejection::Decreased)]
#[case::fewer_unmatched_kept(count(1, "one", 6, (101, 9)), Rejection::Decreased)]
#[case::more_than_possible(count(1, "one", 5, (2_000, 10)), Rejection::Implausible)]
fn rejects_invalid_reports_entirely(
    #[case] forged: proto::TailCount,
    #[case] rejection: Rejection,
) {
    let history = history(&[1, 2, 3]);
    let mut ledger = TailLedger::default();
    let first = [count(1, "one", 5, (100, 10)), count(1, "two", 1, (0, 0))];
    apply(&mut ledger, &history, &[1, 2], &first).unwrap();
    let valid = count(1, "two", 10, (0, 0));
    assert_eq!(
        apply(&mut ledger, &history, &[1, 2], &[valid.clone(), forged]),
        Err(rejection)
    );
    assert_eq!(
        apply(&mut ledger, &history, &[1, 2], &[valid]),
        Ok(vec![(9, 0, 0)])
    );
}

#[test]
fn unknown_versions_are_ignored() {
    let history = history(&[5]);
    let mut ledger = TailLedger::default();
    let mut other_epoch = count(5, "one", 1, (0, 0));
    other_epoch.version = Some(proto::Version {
        epoch: EPOCH - 1,
        sequence: 5,
    });
    let counts = [
        count(4, "one", 1, (0, 0)),
        other_epoch,
        count(5, "one", 2, (0, 0)),
    ];
    assert_eq!(
        apply(&mut ledger, &history, &[5], &counts),
        Ok(vec![(2, 0, 0)])
    );
}

#[test]
fn counts_left_out_stay() {
    let history = history(&[1]);
    let mut ledger = TailLedger::default();
    let mut report = |policy, errors| {
        let counts = [count(1, policy, errors, (0, 0))];
        apply(&mut ledger, &history, &[1], &counts)
    };
    assert_eq!(report("one", 5), Ok(vec![(5, 0, 0)]));
    assert_eq!(report("two", 3), Ok(vec![(3, 0, 0)]));
    assert_eq!(report("one", 6), Ok(vec![(1, 0, 0)]));
}

#[test]
fn resumed_counts_are_a_baseline() {
    let history = history(&[1, 2, 3]);
    let mut ledger = TailLedger::resume_at(2);
    let counts = [
        count(1, "one", 1, (0, 0)),
        count(2, "one", 10, (0, 0)),
        count(3, "one", 4, (0, 0)),
    ];
    assert_eq!(
        apply(&mut ledger, &history, &[2, 3], &counts),
        Ok(vec![(4, 0, 0)])
    );
    let counts = [count(2, "one", 12, (0, 0))];
    assert_eq!(
        apply(&mut ledger, &history, &[2, 3], &counts),
        Ok(vec![(2, 0, 0)])
    );
}

#[test]
fn counts_from_before_a_removal_are_ignored() {
    let history = history(&[1, 2, 3]);
    let mut ledger = TailLedger::forgotten_until(2);
    let counts = [count(1, "one", 5, (0, 0)), count(2, "one", 10, (0, 0))];
    assert_eq!(
        apply(&mut ledger, &history, &[2], &counts),
        Ok(vec![(10, 0, 0)])
    );
    // It was published after the sampler connected.
    assert_eq!(
        apply(&mut ledger, &history, &[2], &[count(3, "one", 1, (0, 0))]),
        Err(Rejection::NeverSent)
    );
}
