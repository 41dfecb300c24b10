//! Spans that are handed over among several samplers.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    time::{Duration, Instant},
};

use rstest::rstest;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::process::{Process, ROOT, SpanNumber, accept, copy, request, spans_in, table};
use crate::{
    Forwarder, ForwarderSettings, TraceId,
    forward::{JournalId, PeerSettings, Rings, Visited, journal::unix_ms},
    receiver::AcceptError,
};

/// Large enough for everything.
const LARGE: u64 = 64 << 20;
/// With segments of 16 KiB.
const SMALL: u64 = 256 << 10;

fn rings(generation: u64, members: &[u32]) -> Rings {
    Rings::new(generation, members).unwrap()
}

/// Two samplers.
fn pair(max_bytes: u64) -> [Process; 2] {
    [0, 1].map(|own| Process::start_among(own, &rings(1, &[2]), max_bytes))
}

/// The root spans of traces that the sampler `owner` of two owns.
fn owned_by(owner: u16, count: usize) -> Vec<SpanNumber> {
    let ring = rings(1, &[2]);
    let is_owned = |trace: &u64| {
        let id = TraceId::from_bytes(u128::from(trace + 1).to_be_bytes());
        let hop = ring.next_hop(id, Visited::default(), 0, || false);
        hop.map_or(0, |hop| hop.to) == owner
    };
    let traces = (0..).filter(is_owned).take(count);
    traces.map(|trace| (trace, ROOT)).collect()
}

#[test]
fn spans_are_sent_by_their_owner() {
    let [mut first, mut second] = pair(LARGE);
    let (own, others) = (owned_by(0, 3), owned_by(1, 2));
    let spans = [&own[..2], &others[..], &own[2..]].concat();
    first.accept(&request(&spans, 0)).unwrap();
    assert_eq!(first.send(), own);
    assert_eq!(first.totals().received, 3);
    assert_eq!(first.state().spans_forwarded, 2);
    assert_eq!(first.forward(&mut second, 1, false), 1);
    assert_eq!(second.send(), others);
    assert_eq!(second.totals().received, 2);
    assert_eq!(first.parts(), 0);
}

#[test]
fn parts_wait_again_after_a_kill() {
    let [mut first, mut second] = pair(LARGE);
    let others = owned_by(1, 2);
    let before = Instant::now();
    first.accept(&request(&others, 0)).unwrap();
    let journal = first.state().journal_id;
    let mut first = first.kill();
    assert_eq!(first.state().journal_id, journal);
    assert_eq!(first.recovery.parts_waiting, 1);
    let part = first
        .state()
        .next_forward(1, before + Duration::from_secs(9));
    let age = part.parts[0].age.as_secs();
    assert!((8..=9).contains(&age), "{age}");
    first.forward(&mut second, 1, false);
    first.flush();
    let first = first.kill();
    assert_eq!(first.recovery.parts_waiting, 0);
    assert_eq!(second.send(), others);
}

/// The response is lost, and then one of the two is killed.
#[rstest]
#[case::sender(true)]
#[case::receiver(false)]
fn part_is_received_once(#[case] kills_sender: bool) {
    let [mut first, mut second] = pair(LARGE);
    let others = owned_by(1, 2);
    first.accept(&request(&others[..1], 0)).unwrap();
    first.accept(&request(&others[1..], 0)).unwrap();
    assert_eq!(first.forward(&mut second, 1, true), 1);
    match kills_sender {
        true => first = first.kill(),
        false => second = second.kill(),
    }
    assert_eq!(first.parts(), 2);
    first.forward(&mut second, 2, false);
    assert_eq!(second.send(), others);
    assert_eq!(first.parts(), 0);
}

/// The crash of a node can lose what a process has written last.
#[test]
fn lost_numbers_are_not_used_again() {
    let [mut first, mut second] = pair(LARGE);
    let others = owned_by(1, 3);
    first.accept(&request(&others[..1], 0)).unwrap();
    let whole = copy(first.folder.path());
    first.accept(&request(&others[1..2], 0)).unwrap();
    first.forward(&mut second, 2, true);
    let crash = unix_ms();
    while unix_ms() == crash {
        std::thread::yield_now();
    }
    let mut first = Process::open(whole, first.settings.clone());
    first.accept(&request(&others[2..], 0)).unwrap();
    first.forward(&mut second, 2, false);
    assert_eq!(second.send(), others);
}

/// The names of the journal's segments.
fn segments(process: &Process) -> BTreeSet<OsString> {
    let entries = fs::read_dir(process.folder.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    let is_segment = |name: &OsString| name.to_str().unwrap().starts_with("segment-");
    names.filter(is_segment).collect()
}

#[test]
fn waiting_parts_are_not_moved_without_need() {
    let [mut first, mut second] = pair(SMALL);
    let others = owned_by(1, 20);
    for span in &others {
        first.accept(&request(&[*span], 2_000)).unwrap();
    }
    let before = segments(&first);
    assert!(before.len() > 2, "{before:?}");
    for _ in 0..5 {
        first.flush();
    }
    assert_eq!(segments(&first), before);
    assert_eq!(first.forward(&mut second, 99, false), 20);
    first.flush();
    assert_eq!(segments(&first).len(), 1);
}

#[test]
fn waiting_parts_keep_few_segments() {
    let [mut first, mut second] = pair(SMALL);
    let others = owned_by(1, 3);
    for span in &others {
        first.accept(&request(&[*span], 1_000)).unwrap();
    }
    for span in owned_by(0, 300) {
        first.accept(&request(&[span], 2_000)).unwrap();
        first.send();
    }
    // Half of the journal has room for 8, and without moving parts there would be 40.
    let count = segments(&first).len();
    assert!(count <= 10, "{count}");
    let mut first = first.kill();
    assert_eq!(first.recovery.parts_waiting, 3);
    assert_eq!(first.forward(&mut second, 3, false), 3);
    assert_eq!(second.send(), others);
}

/// The process is killed after the parts were moved, and before the segment is deleted.
#[test]
fn moved_parts_are_sent_once() {
    let [mut first, mut second] = pair(SMALL);
    let others = owned_by(1, 1);
    first.accept(&request(&others, 1_000)).unwrap();
    // More than half of the journal.
    for span in owned_by(0, 70) {
        first.accept(&request(&[span], 2_000)).unwrap();
    }
    first.state().outgoing.batches.complete();
    while let Some(batch) = first.next_batch() {
        first.sent(&batch);
    }
    let unneeded = first.journaled.appender().clean_up();
    assert!(!unneeded.is_empty());
    let mut first = first.kill();
    assert_eq!(first.recovery.parts_waiting, 1);
    assert_eq!(first.forward(&mut second, 9, false), 1);
    assert_eq!(second.send(), others);
}

#[test]
fn collectors_wait_for_a_full_peer() {
    let [mut first, mut second] = pair(SMALL);
    let others = owned_by(1, 100);
    let accepted = others.iter().take_while(|span| {
        let accepted = first.accept(&request(&[**span], 2_000));
        assert!(matches!(accepted, Ok(()) | Err(AcceptError::PeerFull)));
        accepted.is_ok()
    });
    let accepted = accepted.count();
    // A fifth of the journal, and one more.
    assert!((20..30).contains(&accepted), "{accepted}");
    // There is room for its own traces, and for those from peers.
    first.accept(&request(&owned_by(0, 1), 0)).unwrap();
    second.accept(&request(&owned_by(0, 2)[1..], 0)).unwrap();
    assert_eq!(second.forward(&mut first, 1, false), 1);
    assert_eq!(first.state().saturated(), 0b10);
    // The other sampler refuses Collectors for this reason, too.
    let own = request(&others[99..], 0);
    assert_eq!(second.accept(&own), Err(AcceptError::PeerFull));
    first.forward(&mut second, 99, false);
    assert_eq!(first.state().saturated(), 0);
    first.accept(&request(&others[99..], 0)).unwrap();
}

#[test]
fn samplers_outside_the_rings_refuse_collectors() {
    let spans = request(&owned_by(0, 1), 0);
    let mut draining = Process::start_among(1, &rings(1, &[1]), LARGE);
    assert_eq!(draining.accept(&spans), Err(AcceptError::NotServing));
    let mut settings = draining.settings.clone();
    settings.peers = Some(PeerSettings {
        own: 1,
        rings: None,
    });
    let mut learning = Process::open(TempDir::new().unwrap(), settings);
    assert!(learning.state().is_learning());
    assert_eq!(learning.accept(&spans), Err(AcceptError::NotServing));
    learning.set_rings(rings(1, &[2]));
    assert!(!learning.state().is_learning());
    assert_eq!(learning.accept(&spans), Ok(()));
    assert_eq!(learning.parts(), 1);
}

#[test]
fn former_owner_keeps_the_traces_that_it_knows() {
    let [_, mut second] = pair(LARGE);
    // Sampler 0 owns all traces at first.
    let mut first = Process::start_among(0, &rings(0, &[1]), LARGE);
    first.set_table(table(true, "0%"));
    second.set_table(table(true, "0%"));
    let known = owned_by(1, 1)[0];
    first.accept(&request(&[known], 0)).unwrap();
    let both = rings(2, &[1, 2]);
    second.set_rings(both);
    let new = owned_by(1, 2)[1];
    second.accept(&request(&[known, new], 0)).unwrap();
    // The former owner is asked about both, and returns the one that it does not know.
    assert_eq!(second.totals().traces_gathering, 0);
    second.forward(&mut first, 1, false);
    assert_eq!(first.totals().gathering, 2);
    first.forward(&mut second, 1, false);
    assert_eq!(second.totals().gathering, 1);
    assert_eq!(first.parts() + second.parts(), 0);
}

/// A sampler that was removed, and then all but this one.
#[test]
fn parts_for_a_removed_sampler_are_divided_again() {
    let [mut first, _] = pair(LARGE);
    let others = owned_by(1, 2);
    first.accept(&request(&others, 0)).unwrap();
    let later = Instant::now() + Duration::from_secs(120);
    first.journaled.appender().divide_abandoned(later);
    assert_eq!(first.parts(), 1);
    first.set_rings(rings(2, &[1]));
    first.journaled.appender().divide_abandoned(Instant::now());
    assert_eq!(first.parts(), 1);
    first.journaled.appender().divide_abandoned(later);
    assert_eq!(first.parts(), 0);
    assert_eq!(first.send(), others);
    assert_eq!(first.kill().recovery.parts_waiting, 0);
}

#[test]
fn parts_stay_if_the_peers_are_gone() {
    let [mut first, _] = pair(LARGE);
    let others = owned_by(1, 2);
    first.accept(&request(&others, 0)).unwrap();
    let mut settings = first.settings.clone();
    settings.peers = None;
    let mut alone = Process::open(copy(first.folder.path()), settings);
    alone.accept(&request(&[(99, ROOT)], 0)).unwrap();
    let later = Instant::now() + Duration::from_secs(120);
    alone.journaled.appender().divide_abandoned(later);
    assert_eq!(alone.send(), [&[(99, ROOT)][..], &others[..]].concat());
}

#[test]
fn unreadable_part_is_received_and_counted() {
    let [mut first, second] = pair(LARGE);
    first.accept(&request(&owned_by(1, 1), 0)).unwrap();
    let mut part = first
        .state()
        .next_forward(1, Instant::now())
        .parts
        .remove(0);
    part.request = vec![0xff_u8].into();
    let from = JournalId::from_bytes([7; 16]);
    let accepted = second
        .journaled
        .appender()
        .accept_part((from, &part), None, None);
    assert_eq!(accepted, Ok(()));
    assert_eq!(second.state().parts_rejected, 1);
    assert_eq!(second.kill().state().received(from), part.sequence);
}

#[test]
fn decisions_wait_for_the_spans_of_peers() {
    let [mut first, _] = pair(LARGE);
    first.set_table(table(true, "0%"));
    first.accept(&request(&owned_by(0, 1), 0)).unwrap();
    let waiting_traces = |process: &mut Process, is_expected: bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            // After it is due.
            let later = Instant::now() + Duration::from_millis(20);
            process.decide_some(|sampler, outgoing| sampler.decide_due(later, 10, outgoing));
            let traces = process.totals().traces_gathering;
            if (traces > 0) == is_expected || Instant::now() > deadline {
                break traces;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    assert_eq!(waiting_traces(&mut first, true), 1);
    let mut first = first.kill();
    first.set_table(table(true, "0%"));
    assert_eq!(waiting_traces(&mut first, true), 1);
    let until = Instant::now() + Duration::from_secs(20);
    if let Some(peers) = &mut first.state().peers {
        peers.record_report(1, until, until);
    }
    assert_eq!(waiting_traces(&mut first, false), 0);
}

#[test]
fn rings_settle_without_earlier_traces() {
    let mut first = Process::start_among(0, &rings(3, &[1]), LARGE);
    first.set_table(table(true, "0%"));
    let own = owned_by(0, 2);
    first.accept(&request(&own[..1], 0)).unwrap();
    first.set_rings(rings(4, &[1, 2]));
    let settled = |process: &mut Process, seconds| {
        let mut state = process.state();
        state.update_settled(Instant::now() + Duration::from_secs(seconds));
        let peers = state.peers.as_ref().unwrap();
        peers.settled_generation()
    };
    let waiting = [0, 2_000].map(|seconds| settled(&mut first, seconds));
    assert_eq!(waiting, [0, 0]);
    first.decide();
    // A later trace does not matter.
    first.accept(&request(&own[1..], 0)).unwrap();
    assert_eq!(first.totals().traces_gathering, 1);
    let decided = [0, 300, 700].map(|seconds| settled(&mut first, seconds));
    assert_eq!(decided, [0, 0, 4]);
}

fn forwarder(folder: &TempDir, shutdown: &CancellationToken) -> Forwarder {
    let settings = Process::start_among(0, &rings(1, &[2]), LARGE).settings;
    let mut journal = settings.journal.clone().unwrap();
    journal.folder = folder.path().to_owned();
    let settings = ForwarderSettings {
        journal: Some(journal),
        ..settings
    };
    Forwarder::start(settings, shutdown.clone()).unwrap()
}

#[tokio::test]
async fn parts_are_handed_out_until_they_are_received() {
    let folder = TempDir::new().unwrap();
    let shutdown = CancellationToken::new();
    let forwarder = forwarder(&folder, &shutdown);
    let started = Instant::now();
    let none = forwarder.next_forward(1).await.unwrap();
    assert_eq!((none.parts.len(), none.pending), (0, Duration::ZERO));
    assert!(started.elapsed() >= Duration::from_millis(90));
    let waiting = tokio::spawn({
        let forwarder = forwarder.clone();
        async move { forwarder.next_forward(1).await }
    });
    let others = owned_by(1, 2);
    accept(&forwarder, &request(&others, 0)).unwrap();
    assert_eq!(forwarder.forward_pending().len(), 1);
    assert!(forwarder.forward_pending()[0].1 > 0);
    let _either = waiting.await.unwrap();
    let parts = forwarder.next_forward(1).await.unwrap().parts;
    assert_eq!(spans_in(&parts[0].request), others);
    assert_eq!(forwarder.next_forward(1).await.unwrap().parts.len(), 1);
    shutdown.cancel();
    // Still, until the peer has received them.
    assert_eq!(forwarder.next_forward(1).await.unwrap().parts.len(), 1);
    forwarder.forwarded(1, parts[0].sequence, 0);
    let end = async { while forwarder.next_forward(1).await.is_some() {} };
    assert!(timeout(Duration::from_secs(10), end).await.is_ok());
}

#[tokio::test]
async fn parts_of_peers_are_taken_once() {
    let folder = TempDir::new().unwrap();
    let shutdown = CancellationToken::new();
    let forwarder = forwarder(&folder, &shutdown);
    let [_, mut second] = pair(LARGE);
    second.accept(&request(&owned_by(0, 2), 0)).unwrap();
    let from = second.state().journal_id.unwrap();
    let parts = second.state().next_forward(0, Instant::now()).parts;
    for _ in 0..2 {
        let (received, accepted) = forwarder.accept_forwarded(from, &parts);
        assert_eq!((received, accepted), (parts[0].sequence, Ok(())));
        assert_eq!(forwarder.totals().received, 2);
    }
    shutdown.cancel();
    while !forwarder.receiver.is_closed() {
        tokio::task::yield_now().await;
    }
    let (received, refused) = forwarder.accept_forwarded(from, &parts);
    assert_eq!(received, parts[0].sequence);
    assert_eq!(refused, Err(AcceptError::NotServing));
}
