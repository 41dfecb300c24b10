//! The state that survives a kill.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    time::{Duration, Instant},
};

use rstest::rstest;
use spoor_policy::TailTable;

use super::process::{Process, ROOT, SpanNumber, files, request, spans_of, table};
use crate::{
    forward::{JournalError, journaled::Journaled},
    receiver::AcceptError,
};

/// Large enough for everything.
const LARGE: u64 = 64 << 20;
/// With segments of 16 KiB.
const SMALL: u64 = 256 << 10;

#[test]
fn waiting_traces_wait_again() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(1, 2), (2, 2)], 0)).unwrap();
    process.accept(&request(&[(2, 3)], 0)).unwrap();
    let mut process = process.kill();
    assert_eq!(process.recovery.traces_waiting, 2);
    assert_eq!(process.recovery.requests, 2);
    let totals = process.totals();
    assert_eq!((totals.received, totals.replayed), (3, 3));
    assert_eq!((totals.gathering, totals.kept), (3, 0));
    process.set_table(table(true, "0%"));
    process
        .accept(&request(&[(1, ROOT), (2, ROOT)], 0))
        .unwrap();
    process.decide();
    assert_eq!(process.send(), [(2, 2), (2, 3), (2, ROOT)]);
}

#[test]
fn requests_make_no_decisions() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(2, ROOT)], 0)).unwrap();
    // The trace is due within 10 ms.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(20) {
        std::thread::yield_now();
    }
    process.accept(&request(&[(4, ROOT)], 0)).unwrap();
    assert_eq!(process.totals().traces_gathering, 2);
    let later = Instant::now() + Duration::from_millis(20);
    process.decide_some(|sampler, outgoing| sampler.decide_due(later, 10, outgoing));
    assert_eq!(process.totals().traces_gathering, 0);
}

#[test]
fn decisions_are_not_made_again() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process
        .accept(&request(&[(1, ROOT), (2, ROOT)], 0))
        .unwrap();
    process.decide();
    // Other rules, which keep everything.
    let mut process = process.kill();
    assert_eq!(process.recovery.decisions, 2);
    assert_eq!(process.recovery.traces_waiting, 0);
    process.set_table(table(true, "100%"));
    process.accept(&request(&[(1, 2), (2, 2)], 0)).unwrap();
    process.decide();
    assert_eq!(process.send(), [(2, ROOT), (2, 2)]);
}

#[test]
fn decisions_outlive_their_segments() {
    let mut process = Process::start(SMALL);
    process.set_table(table(true, "0%"));
    for trace in 0..40 {
        process.accept(&request(&[(trace, ROOT)], 2_000)).unwrap();
        process.decide();
    }
    assert_eq!(process.send().len(), 20);
    assert_eq!(files(process.folder.path(), "segment-"), 1);
    for _ in 0..2 {
        process = process.kill();
        assert_eq!(process.recovery.traces_waiting, 0);
        assert_eq!(process.recovery.resent, 0);
        process.set_table(table(true, "100%"));
        process.accept(&request(&[(1, 2), (2, 2)], 0)).unwrap();
        process.decide();
        assert_eq!(process.send(), [(2, 2)]);
    }
}

#[rstest]
#[case::replayed(1)]
#[case::remembered(40)]
fn rules_do_not_split_passed_traces(#[case] traces: u64) {
    let mut process = Process::start(SMALL);
    for trace in 1..=traces {
        process.accept(&request(&[(trace, ROOT)], 2_000)).unwrap();
        process.send();
    }
    let mut process = process.kill();
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(1, 2), (99, 2)], 0)).unwrap();
    assert_eq!(process.send(), [(1, 2)]);
    assert_eq!(process.totals().traces_gathering, 1);
}

/// The decision is remembered, so the next request is not passed straight on as a whole.
#[test]
fn passed_traces_stay_whole_beside_decisions() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(2, ROOT)], 0)).unwrap();
    process.decide();
    process.set_table(TailTable::default());
    process.accept(&request(&[(1, ROOT)], 0)).unwrap();
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(1, 2)], 0)).unwrap();
    process.decide();
    assert_eq!(process.send(), [(2, ROOT), (1, ROOT), (1, 2)]);
}

#[rstest]
#[case::none(&[], &[(1, 1), (2, 1), (3, 1)])]
#[case::first(&[0], &[(2, 1), (3, 1)])]
#[case::first_two(&[1, 0], &[(3, 1)])]
#[case::all(&[2, 0, 1], &[])]
#[case::not_the_first(&[1, 2], &[(1, 1), (2, 1), (3, 1)])]
fn unconfirmed_spans_are_sent_again(#[case] sent: &[usize], #[case] again: &[SpanNumber]) {
    let mut process = Process::start(LARGE);
    let mut batches = Vec::new();
    for trace in 1..=3 {
        process.accept(&request(&[(trace, ROOT)], 0)).unwrap();
        process.flush();
        batches.push(process.next_batch().unwrap());
    }
    for index in sent {
        process.sent(&batches[*index]);
    }
    let mut process = process.kill();
    assert_eq!(process.recovery.resent, again.len() as u64);
    assert_eq!(process.send(), again);
    let mut process = process.kill();
    assert!(process.send().is_empty());
}

/// A batch ends in the middle of a request.
#[test]
fn part_of_a_request_is_sent_again() {
    let mut process = Process::start(LARGE);
    let spans: Vec<SpanNumber> = (0..3_000).map(|trace| (trace, ROOT)).collect();
    process.accept(&request(&spans, 1_000)).unwrap();
    process.flush();
    let first = process.next_batch().unwrap();
    let _in_flight = process.next_batch().unwrap();
    process.sent(&first);
    let first = spans_of(&first);
    assert!(first.len() > 500 && first.len() < 1_500, "{}", first.len());
    let mut process = process.kill();
    let again = process.send();
    assert_eq!([first, again].concat(), spans);
}

#[test]
fn full_journal_refuses_and_recovers() {
    let mut process = Process::start(SMALL);
    process.set_table(table(true, "0%"));
    let mut accepted: Vec<SpanNumber> = Vec::new();
    let refused = loop {
        let trace = 2 * accepted.len() as u64;
        match process.accept(&request(&[(trace, 2)], 2_000)) {
            Ok(()) => accepted.push((trace, 2)),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AcceptError::Journal);
    assert!(accepted.len() > 50, "{}", accepted.len());
    let mut process = process.kill();
    process.set_table(table(true, "0%"));
    let again = request(&[(1_001, 2)], 2_000);
    assert_eq!(process.accept(&again), Err(AcceptError::Journal));
    // Traces without a root are kept.
    process.decide();
    assert_eq!(process.send(), accepted);
    assert_eq!(process.accept(&again), Ok(()));
}

#[test]
fn decision_is_written_before_its_spans_are_sent() {
    let mut process = Process::start(SMALL);
    process.set_table(table(true, "0%"));
    // Fills a segment, so that the decision needs another one.
    process.accept(&request(&[(2, 2)], 20_000)).unwrap();
    let folder = process.folder.path().to_owned();
    let aside = folder.with_extension("aside");
    fs::rename(&folder, &aside).unwrap();
    process.decide();
    process.flush();
    assert!(process.next_batch().is_none());
    let next = request(&[(4, 2)], 0);
    assert_eq!(process.accept(&next), Err(AcceptError::Journal));
    fs::rename(&aside, &folder).unwrap();
    assert_eq!(process.send(), [(2, 2)]);
    assert_eq!(process.accept(&next), Ok(()));
}

#[test]
fn request_larger_than_the_journal_is_refused() {
    let mut process = Process::start(SMALL);
    let large = request(&[(1, ROOT)], 200 << 10);
    assert_eq!(process.accept(&large), Err(AcceptError::TooLargeForJournal));
}

#[test]
fn a_folder_has_one_process() {
    let process = Process::start(LARGE);
    let second = Journaled::open(&process.settings);
    let Err(error @ JournalError::Lock { .. }) = second else {
        panic!("the folder is not locked");
    };
    assert!(error.to_string().starts_with("another process uses"));
}
