//! Decisions that are postponed after an interruption of the input.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use spoor_policy::TailTable;
use tempfile::TempDir;

use super::process::{Process, ROOT, request, table};

const SECOND: Duration = Duration::from_secs(1);

/// A process with a trace that is due, and the time before it began.
fn process_with_trace(max_trace_duration: Duration) -> (Process, Instant) {
    let mut settings = Process::start(64 << 20).settings;
    settings.tail.max_trace_duration = max_trace_duration;
    let mut process = Process::open(TempDir::new().unwrap(), settings);
    process.set_table(table(true, "0%"));
    let begun = Instant::now();
    process.accept(&request(&[(1, 2)], 0)).unwrap();
    process.accept(&request(&[(1, ROOT)], 0)).unwrap();
    (process, begun)
}

/// Decides at a time, while decisions are postponed until another one. Returns the number of traces
/// that still wait.
fn decide_at(process: &mut Process, now: Instant, postponed_until: Option<Instant>) -> u64 {
    process.decide_some(|sampler, outgoing| {
        sampler.set_postponed_until(postponed_until);
        sampler.decide_due(now, 10, outgoing)
    });
    process.totals().traces_gathering
}

#[test]
fn postponed_decision_is_made_later() {
    let (mut process, _) = process_with_trace(3600 * SECOND);
    let start = Instant::now();
    let at = |seconds: u32| start + seconds * SECOND;
    assert_eq!(decide_at(&mut process, at(1), Some(at(7))), 1);
    assert_eq!(decide_at(&mut process, at(6), Some(at(11))), 1);
    assert_eq!(process.state().sampler.decisions_postponed(), 1);
    assert_eq!(decide_at(&mut process, at(8), Some(at(11))), 1);
    assert_eq!(process.state().sampler.decisions_postponed(), 2);
    assert_eq!(decide_at(&mut process, at(10), None), 1);
    assert_eq!(decide_at(&mut process, at(12), None), 0);
}

#[test]
fn no_trace_waits_beyond_its_longest_duration() {
    let (mut process, begun) = process_with_trace(30 * SECOND);
    let start = Instant::now();
    let until = Some(start + 90 * SECOND);
    assert_eq!(decide_at(&mut process, start + SECOND, until), 1);
    assert_eq!(decide_at(&mut process, begun + 29 * SECOND, until), 1);
    assert_eq!(decide_at(&mut process, start + 31 * SECOND, until), 0);
}

#[test]
fn without_rules_nothing_is_postponed() {
    let (mut process, _) = process_with_trace(3600 * SECOND);
    process.set_table(TailTable::default());
    let start = Instant::now();
    let until = Some(start + 60 * SECOND);
    assert_eq!(decide_at(&mut process, start + SECOND, until), 0);
}
