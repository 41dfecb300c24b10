//! A journal that is closed, and opened elsewhere.

#![allow(clippy::unwrap_used)]

use rstest::rstest;
use tokio_util::sync::CancellationToken;

use super::process::{Process, ROOT, SpanNumber, accept, copy, request, spans_of, table};
use crate::{
    Forwarder, ForwarderSettings,
    forward::{Rings, is_journal_file},
    receiver::AcceptError,
    tail::TailSampler,
};

/// Large enough for everything.
const LARGE: u64 = 64 << 20;

#[test]
fn closed_journal_continues_elsewhere() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(2, 2)], 0)).unwrap();
    let last_record = process.journaled.appender().close();
    assert!(last_record.is_some());
    assert_eq!(last_record, Some(process.state().last_record()));
    // Nothing happens that a copy of the files would miss.
    let refused = process.accept(&request(&[(2, 3)], 0));
    assert_eq!(refused, Err(AcceptError::NotServing));
    assert!(!process.decide_some(TailSampler::decide_waiting));
    assert!(process.send().is_empty());

    let mut next = Process::open(copy(process.folder.path()), process.settings.clone());
    next.set_table(table(true, "0%"));
    next.accept(&request(&[(2, ROOT)], 0)).unwrap();
    next.decide();
    assert_eq!(next.send(), [(2, 2), (2, ROOT)]);
}

#[test]
fn closed_journal_is_opened_again() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(2, ROOT)], 0)).unwrap();
    assert!(process.journaled.appender().close().is_some());
    process.state().is_journal_closed = false;
    process.decide();
    assert_eq!(process.send(), [(2, ROOT)]);
}

#[tokio::test]
async fn journal_may_be_opened_later() {
    let mut process = Process::start(LARGE);
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(2, 2)], 0)).unwrap();
    let folder = copy(process.folder.path());
    let mut settings = process.settings.clone();
    settings.journal.as_mut().unwrap().folder = folder.path().to_owned();

    let stop = CancellationToken::new();
    let forwarder = Forwarder::start_without_journal(settings.clone(), stop);
    let request = request(&[(2, 3)], 0);
    let refused = accept(&forwarder, &request);
    assert_eq!(refused.err(), Some(AcceptError::NotServing));
    assert_eq!(forwarder.journal_id(), None);
    forwarder.open_journal(&settings).unwrap();
    assert_eq!(forwarder.journal_id(), process.state().journal_id);
    assert_eq!(forwarder.recovery().traces_waiting, 1);
    assert_eq!(accept(&forwarder, &request).err(), None);
}

/// The custody of a sampler whose peers do not run either.
#[tokio::test]
async fn parts_for_peers_are_decided_without_them() {
    let rings = Rings::new(1, &[2]).unwrap();
    let mut process = Process::start_among(0, &rings, LARGE);
    let spans: Vec<SpanNumber> = (0..20).map(|trace| (trace, ROOT)).collect();
    process.accept(&request(&spans, 0)).unwrap();
    assert_eq!(process.parts(), 1);
    let folder = copy(process.folder.path());
    let mut settings = ForwarderSettings {
        decides_at_shutdown: true,
        peers: None,
        ..process.settings.clone()
    };
    settings.journal.as_mut().unwrap().folder = folder.path().to_owned();

    let stop = CancellationToken::new();
    stop.cancel();
    let forwarder = Forwarder::start(settings, stop).unwrap();
    let mut sent = Vec::new();
    while let Some(batch) = forwarder.next_batch().await {
        sent.extend(spans_of(&batch));
        forwarder.sent(&batch).await;
    }
    sent.sort_unstable();
    assert_eq!(sent, spans);
}

#[test]
fn other_files_lower_the_limit_of_the_journal() {
    let mut process = Process::start(LARGE);
    assert!(process.journaled.appender().has_room_beside(LARGE / 2));
    assert!(!process.journaled.appender().has_room_beside(LARGE));
    process.journaled.appender().set_reserved(LARGE);
    let refused = process.accept(&request(&[(2, 2)], 0));
    assert_eq!(refused, Err(AcceptError::Journal));
    process.journaled.appender().set_reserved(0);
    process.accept(&request(&[(2, 2)], 0)).unwrap();
}

#[rstest]
#[case("id", true)]
#[case("segment-0000000000000001", true)]
#[case("decisions-0000000000000001", true)]
#[case("lock", false)]
#[case("segment-1", false)]
#[case("segment-+000000000000001", false)]
#[case("segment-0000000000000001.new", false)]
#[case("../segment-0000000000000001", false)]
fn files_of_a_journal_have_exact_names(#[case] name: &str, #[case] expected: bool) {
    assert_eq!(is_journal_file(name), expected);
}
