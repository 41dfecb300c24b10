#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use spoor_policy::{Policy, PolicyFields, PolicyKey, Strategy as Head, Target, Version, resolve};

use super::*;

/// The room for the counts of tests that do not exhaust it: a ledger must always be given the same
/// one.
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1 << 20)));

const EPOCH: u64 = 7;
const EXPIRY: i64 = 1_000_000;

/// Versions of a plan with "GET /" until [`EXPIRY`], and a default that never expires.
fn history(sequences: &[u64]) -> History {
    history_of(sequences, &["GET /"])
}

/// Like [`history`], but with these operations.
fn history_of(sequences: &[u64], operations: &[&str]) -> History {
    let policy = |name: &str, operations: Vec<OperationName>, expires| {
        let key = PolicyKey {
            namespace: Default::default(),
            name: name.parse().unwrap(),
        };
        let service = "a".parse().unwrap();
        let targets = vec![Target {
            service,
            operations,
        }];
        let head = Head::Probability("50%".parse().unwrap());
        Policy::new(PolicyFields {
            key,
            priority: 0,
            created: Timestamp::UNIX_EPOCH,
            targets,
            head: Some(head),
            tail: None,
            expires_at: expires,
        })
        .unwrap()
    };
    let expiry = Timestamp::from_millisecond(EXPIRY).unwrap();
    let policies = [
        policy("all", vec![], None),
        policy(
            "one",
            operations.iter().map(|it| it.parse().unwrap()).collect(),
            Some(expiry),
        ),
    ];
    let resolution = resolve(&policies, Timestamp::UNIX_EPOCH);
    let plan = resolution.table.plan("default", "a");
    assert_eq!(plan.phases().len(), 2);
    let mut history = History::default();
    let room = Arc::new(Semaphore::new(1 << 20));
    for sequence in sequences {
        let version = Version {
            epoch: EPOCH,
            sequence: *sequence,
        };
        history.push(version, plan.clone(), &room);
    }
    history
}

fn count(sequence: u64, operation: &str, started: u64, sampled: u64) -> proto::Count {
    proto::Count {
        version: Some(proto::Version {
            epoch: EPOCH,
            sequence,
        }),
        operation: operation.to_owned(),
        first_unix_millis: 1,
        last_unix_millis: 2,
        started,
        sampled,
    }
}

fn apply(
    ledger: &mut Ledger,
    history: &History,
    counts: &[proto::Count],
) -> Result<Vec<CountDelta>, Rejection> {
    let context = ReportContext {
        epoch: EPOCH,
        history,
        sent: &[1, 2],
        max_started: 1_000_000,
        room: &ROOM,
    };
    ledger.apply(counts, &context)
}

fn sum(deltas: &[CountDelta]) -> Counts {
    let mut sum = Counts::default();
    for delta in deltas {
        sum += delta.counts;
    }
    sum
}

#[rstest]
#[case::more_sampled_than_started(count(1, "", 1, 2), Rejection::SampledOverStarted)]
#[case::a_later_version(count(3, "", 1, 1), Rejection::NeverSent)]
#[case::an_unknown_operation(count(1, "GET /elsewhere", 1, 1), Rejection::UnknownOperation)]
#[case::an_invalid_operation_name(count(1, "\n", 1, 1), Rejection::UnknownOperation)]
#[case::fewer_started(count(1, "", 9, 5), Rejection::Decreased)]
#[case::fewer_sampled(count(1, "", 10, 4), Rejection::Decreased)]
#[case::more_than_possible(count(1, "", u64::MAX, 5), Rejection::Implausible)]
#[case::no_version(proto::Count { version: None, ..count(1, "", 1, 1) }, Rejection::NoVersion)]
fn rejects_invalid_reports_entirely(#[case] forged: proto::Count, #[case] rejection: Rejection) {
    let history = history(&[1, 2]);
    let mut ledger = Ledger::default();
    apply(&mut ledger, &history, &[count(1, "", 10, 5)]).unwrap();
    let honest = count(2, "", 100, 50);
    let refused = apply(&mut ledger, &history, &[honest.clone(), forged]);
    assert_eq!(refused, Err(rejection));
    let after = apply(&mut ledger, &history, &[count(1, "", 11, 5), honest]).unwrap();
    assert_eq!(
        sum(&after),
        Counts {
            started: 101,
            sampled: 50
        }
    );
}

#[test]
fn ignores_other_epochs_and_old_versions() {
    let history = history(&[2]);
    let mut ledger = Ledger::default();
    let mut of_another_epoch = count(2, "", 10, 5);
    of_another_epoch.version = Some(proto::Version {
        epoch: EPOCH - 1,
        sequence: 99,
    });
    let deltas = apply(
        &mut ledger,
        &history,
        &[of_another_epoch, count(1, "", 10, 5)],
    );
    assert_eq!(deltas, Ok(vec![]));
}

#[test]
fn resumed_process_is_not_counted_twice() {
    let history = history(&[1, 2]);
    let mut ledger = Ledger::resume_at(2);
    let context = ReportContext {
        epoch: EPOCH,
        history: &history,
        sent: &[2],
        max_started: 1_000_000,
        room: &ROOM,
    };
    let held = [count(1, "", 500, 5), count(2, "", 1_000, 10)];
    assert_eq!(ledger.apply(&held, &context), Ok(vec![]));
    let later = [count(1, "", 500, 5), count(2, "", 1_001, 11)];
    let deltas = ledger.apply(&later, &context).unwrap();
    assert_eq!(
        sum(&deltas),
        Counts {
            started: 1,
            sampled: 1
        }
    );
}

#[test]
fn decisions_belong_to_their_phase() {
    let history = history(&[1]);
    let mut ledger = Ledger::default();
    let mut phase_of = |started, last_unix_millis| {
        let count = proto::Count {
            last_unix_millis,
            ..count(1, "", started, 0)
        };
        apply(&mut ledger, &history, &[count]).unwrap()[0].phase
    };
    assert_eq!(phase_of(1, EXPIRY - 1), Some(0));
    assert_eq!(phase_of(2, EXPIRY), None, "may belong to both phases");
    assert_eq!(phase_of(3, EXPIRY + 1), Some(1));
}

/// An event in the life of a process under one of two versions.
#[derive(Clone, Debug)]
enum Step {
    Decide {
        version: u64,
        operation: bool,
        started: u64,
        sampled: u64,
    },
    Report,
    Forge(u64, u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let decide =
        (1_u64..=2, any::<bool>(), 0_u64..50, 0_u64..50).prop_map(|(version, operation, a, b)| {
            Step::Decide {
                version,
                operation,
                started: a.max(b),
                sampled: a.min(b),
            }
        });
    prop_oneof![
        4 => decide,
        4 => Just(Step::Report),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(started, sampled)| Step::Forge(started, sampled)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Across reports, forged reports and restarts, the increases add up to the last report of each
    /// process.
    #[test]
    fn increases_add_up_to_last_reports(steps in prop::collection::vec(step(), 0..60)) {
        let history = history(&[1, 2]);
        let mut ledger = Ledger::default();
        let mut process: BTreeMap<(u64, bool), Counts> = BTreeMap::new();
        let (mut expected, mut of_process) = (Counts::default(), Counts::default());
        let mut total = Counts::default();
        for step in steps {
            match step {
                Step::Decide { version, operation, started, sampled } => {
                    *process.entry((version, operation)).or_default() += Counts { started, sampled };
                }
                Step::Report => {
                    let counts: Vec<_> = process
                        .iter()
                        .map(|((version, operation), counts)| {
                            let name = if *operation { "GET /" } else { "" };
                            count(*version, name, counts.started, counts.sampled)
                        })
                        .collect();
                    total += sum(&apply(&mut ledger, &history, &counts).unwrap());
                    of_process = Counts::default();
                    process.values().for_each(|counts| of_process += *counts);
                }
                Step::Forge(started, sampled) => {
                    let forged = count(9, "", started, sampled);
                    prop_assert!(apply(&mut ledger, &history, &[forged]).is_err());
                }
                Step::Restart => {
                    expected += of_process;
                    of_process = Counts::default();
                    process.clear();
                    ledger = Ledger::default();
                }
            }
        }
        expected += of_process;
        prop_assert_eq!(total, expected);
    }

    /// No report decreases a count, and a rejected one changes nothing.
    #[test]
    fn rejections_change_nothing(
        reports in prop::collection::vec(
            prop::collection::vec((0_u64..4, 0_usize..3, 0_u64..40, 0_u64..40), 0..5),
            0..20,
        )
    ) {
        let history = history(&[1, 2]);
        let mut ledger = Ledger::default();
        for report in reports {
            let counts: Vec<_> = report
                .iter()
                .map(|(version, operation, started, sampled)| {
                    count(*version, ["", "GET /", "none"][*operation], *started, *sampled)
                })
                .collect();
            let before: Vec<_> = ledger.counts.iter().map(|(key, it)| (key.clone(), it.counts)).collect();
            match apply(&mut ledger, &history, &counts) {
                Ok(deltas) => {
                    let mut difference = Counts::default();
                    ledger.counts.values().for_each(|it| difference += it.counts);
                    let mut had = sum(&deltas);
                    before.iter().for_each(|(_, counts)| had += *counts);
                    prop_assert_eq!(difference, had);
                }
                Err(_) => {
                    let after: Vec<_> = ledger.counts.iter().map(|(key, it)| (key.clone(), it.counts)).collect();
                    prop_assert_eq!(before, after);
                }
            }
        }
    }
}

#[test]
fn counts_of_all_processes_are_bounded() {
    let history = history(&[1, 2]);
    let room = Arc::new(Semaphore::new(3));
    let context = |sent| ReportContext {
        epoch: EPOCH,
        history: &history,
        sent,
        max_started: 1_000_000,
        room: &room,
    };
    let counts = [count(1, "", 10, 1), count(1, "GET /", 10, 1)];
    let (mut first, mut second) = (Ledger::default(), Ledger::default());
    assert!(first.apply(&counts, &context(&[1])).is_ok());
    assert!(
        first.apply(&counts, &context(&[1])).is_ok(),
        "no new counts"
    );
    let refused = second.apply(&counts, &context(&[1]));
    assert_eq!(refused, Err(Rejection::TooManyCounts));
    drop(first);
    // Nothing of the refused report was applied.
    let deltas = second.apply(&counts, &context(&[1])).unwrap();
    assert_eq!(deltas.len(), 2);
}

#[test]
fn no_process_can_take_the_room_of_others() {
    let names: Vec<String> = (0..50).map(|it| format!("GET /{it}")).collect();
    let operations: Vec<&str> = names.iter().map(String::as_str).collect();
    let history = history_of(&[1, 2], &operations);
    let room = Arc::new(Semaphore::new(RESERVED_COUNTS + 60 * SHARE_DIVISOR));
    let context = ReportContext {
        epoch: EPOCH,
        history: &history,
        sent: &[1, 2],
        max_started: 1_000_000,
        room: &room,
    };
    let report = |sequence, operations: &[&str], started| -> Vec<proto::Count> {
        let counts = operations.iter();
        let counts = counts.map(|operation| count(sequence, operation, started, 0));
        counts.collect()
    };
    // With those of an earlier plan, the counts exceed the share, so only the newer ones are kept.
    let mut first = Ledger::default();
    let both = |started| -> Vec<proto::Count> {
        [report(1, &operations, 1), report(2, &operations, started)].concat()
    };
    let deltas = first.apply(&both(1), &context).unwrap();
    assert_eq!((sum(&deltas).started, first.counts.len()), (100, 50));
    let deltas = first.apply(&both(2), &context).unwrap();
    assert_eq!((sum(&deltas).started, first.counts.len()), (50, 50));
    // The rest has become smaller, and with it the shares.
    let taken = Arc::clone(&room).try_acquire_many_owned(160).unwrap();
    let many = report(2, &operations, 1);
    let mut second = Ledger::default();
    let refused = second.apply(&many, &context);
    assert_eq!(refused, Err(Rejection::TooManyCounts));
    assert!(second.apply(&many[..40], &context).is_ok());
    // Processes with few counts may take the reserved part.
    let left = u32::try_from(room.available_permits()).unwrap() - 32;
    let rest = Arc::clone(&room).try_acquire_many_owned(left).unwrap();
    let mut third = Ledger::default();
    let refused = third.apply(&many[..33], &context);
    assert_eq!(refused, Err(Rejection::TooManyCounts));
    assert!(third.apply(&many[..32], &context).is_ok());
    drop((first, second, third, taken, rest));
    let all = RESERVED_COUNTS + 60 * SHARE_DIVISOR;
    assert_eq!(room.available_permits(), all);
}
