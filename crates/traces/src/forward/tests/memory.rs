//! The bounds on the memory of traces that wait or were passed straight on.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use spoor_policy::Version;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::process::{Process, ROOT, SpanNumber, accept, request, table};
use crate::{
    Forwarder, ForwarderSettings, OutOfMemory, ScanError, TailSettings, receiver::AcceptError,
    tail::DECISION_RETENTION,
};

#[tokio::test]
async fn request_is_refused_until_there_is_room() {
    let settings = ForwarderSettings {
        tail: TailSettings {
            decision_wait: Duration::from_secs(3600),
            max_trace_duration: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            ..TailSettings::default()
        },
        ..ForwarderSettings::default()
    };
    let forwarder = Forwarder::start(settings, CancellationToken::new()).unwrap();
    let version = Version {
        epoch: 1,
        sequence: 1,
    };
    forwarder.set_tail(version, table(true, "0%"));
    // A request of another sender was refused, so requests do not cause early decisions.
    forwarder.shared.state().sampler.record_refusal(0);
    let accept = |trace: u64| accept(&forwarder, &request(&[(trace, ROOT)], 0));
    let error = (1..).find_map(|trace| accept(trace).err()).unwrap();
    let expected = ScanError::OutOfMemory(OutOfMemory::TooManyWaiting);
    assert_eq!(error, AcceptError::Scan(expected));
    assert_eq!(forwarder.totals().traces_decided_early, 0);
    // The decision task makes room.
    let deadline = Instant::now() + Duration::from_secs(30);
    while accept(0).is_err() {
        assert!(Instant::now() < deadline, "{forwarder:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(forwarder.totals().traces_decided_early > 0);
}

#[test]
fn passed_traces_take_a_part_of_the_memory() {
    let mut settings = Process::start(1 << 20).settings;
    settings.journal = None;
    settings.tail.max_bytes = 1 << 20;
    let mut process = Process::open(TempDir::new().unwrap(), settings);
    let passed: Vec<SpanNumber> = (1..=20_000).map(|trace| (trace, ROOT)).collect();
    process.accept(&request(&passed, 0)).unwrap();
    process.set_table(table(true, "0%"));
    // A quarter of the memory has room for 12,000: only the last one is recognised.
    process.accept(&request(&[(1, 2), (20_000, 2)], 0)).unwrap();
    assert_eq!(process.totals().traces_gathering, 1);
}

#[test]
fn passed_traces_are_remembered_for_minutes() {
    let mut settings = Process::start(1 << 20).settings;
    settings.journal = None;
    settings.tail.max_trace_duration = Duration::from_secs(1);
    let mut process = Process::open(TempDir::new().unwrap(), settings);
    let start = Instant::now();
    for trace in 0..10 {
        let time = start + Duration::from_secs(60 * trace);
        process.state().outgoing.replay_time = Some(time);
        process.accept(&request(&[(trace, ROOT)], 0)).unwrap();
    }
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(0, 2)], 0)).unwrap();
    assert_eq!(process.totals().traces_gathering, 0);
}

#[test]
fn passed_traces_are_forgotten_in_the_end() {
    let mut process = Process::start(1 << 20);
    process.accept(&request(&[(1, ROOT)], 0)).unwrap();
    process.set_table(table(true, "0%"));
    let now = Instant::now();
    process.state().forget_passed(now + DECISION_RETENTION / 2);
    process.accept(&request(&[(1, 2)], 0)).unwrap();
    assert_eq!(process.totals().traces_gathering, 0);
    process.state().forget_passed(now + DECISION_RETENTION);
    process.accept(&request(&[(1, 3)], 0)).unwrap();
    assert_eq!(process.totals().traces_gathering, 1);
}
