//! The end of a forwarder.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use spoor_policy::{TailTable, Version};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::process::{Process, ROOT, SpanNumber, accept, copy, request, spans_of, table};
use crate::{
    Forwarder, ForwarderSettings,
    forward::{FLUSH_INTERVAL, journaled::Journaled},
};

fn settings(folder: &Path) -> ForwarderSettings {
    let mut settings = Process::start(1 << 20).settings;
    settings.journal.as_mut().unwrap().folder = folder.to_owned();
    settings
}

/// Settings with room for one batch at a time.
fn without_room(folder: &Path) -> ForwarderSettings {
    ForwarderSettings {
        decides_at_shutdown: true,
        max_outgoing_bytes: 0,
        ..settings(folder)
    }
}

/// Begins to shut down a forwarder that has a trace that waits and one to send.
fn shut_down(settings: ForwarderSettings) -> Forwarder {
    let shutdown = CancellationToken::new();
    let forwarder = Forwarder::start(settings, shutdown.clone()).unwrap();
    let accept = |span: SpanNumber| accept(&forwarder, &request(&[span], 0)).unwrap();
    let set_rules = |sequence: u64, rules: TailTable| {
        forwarder.set_tail(Version { epoch: 1, sequence }, rules);
    };
    set_rules(1, table(true, "0%"));
    accept((2, 2));
    set_rules(2, TailTable::default());
    accept((1, ROOT));
    shutdown.cancel();
    forwarder
}

/// Sends all batches of a forwarder until it ends; returns their spans.
async fn send_all(forwarder: &Forwarder) -> Vec<SpanNumber> {
    let mut sent = Vec::new();
    while let Some(batch) = forwarder.next_batch().await {
        sent.extend(spans_of(&batch));
        forwarder.sent(&batch).await;
    }
    assert!(forwarder.receiver.is_closed());
    sent
}

#[tokio::test]
async fn waiting_traces_are_decided_without_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let forwarder = shut_down(ForwarderSettings {
        journal: None,
        ..settings(folder.path())
    });
    assert_eq!(send_all(&forwarder).await, [(1, ROOT), (2, 2)]);
}

#[tokio::test]
async fn waiting_traces_are_decided_if_configured() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ForwarderSettings {
        decides_at_shutdown: true,
        ..settings(folder.path())
    };
    let forwarder = shut_down(settings.clone());
    assert_eq!(send_all(&forwarder).await, [(1, ROOT), (2, 2)]);
    let process = Process::open(copy(folder.path()), settings);
    assert_eq!(process.recovery.traces_waiting, 0);
}

#[tokio::test]
async fn waiting_traces_are_left_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let forwarder = shut_down(settings.clone());
    assert_eq!(send_all(&forwarder).await, [(1, ROOT)]);
    let mut process = Process::open(copy(folder.path()), settings);
    assert_eq!(process.recovery.traces_waiting, 1);
    process.decide();
    assert_eq!(process.send(), [(2, 2)]);
}

#[tokio::test]
async fn last_decisions_wait_for_room() {
    let folder = tempfile::tempdir().unwrap();
    let forwarder = shut_down(without_room(folder.path()));
    let first = forwarder.next_batch().await.unwrap();
    assert_eq!(spans_of(&first), [(1, ROOT)]);
    // Long enough for several attempts to decide.
    let next = timeout(FLUSH_INTERVAL * 3, forwarder.next_batch()).await;
    assert!(next.is_err(), "{next:?}");
    forwarder.sent(&first).await;
    assert_eq!(send_all(&forwarder).await, [(2, 2)]);
}

#[tokio::test]
async fn last_decisions_end_when_the_sender_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let settings = without_room(folder.path());
    let forwarder = shut_down(settings.clone());
    let _unsent = forwarder.next_batch().await.unwrap();
    forwarder.give_up();
    assert!(forwarder.next_batch().await.is_none());
    drop(forwarder);
    // The decision task holds the journal until it ends.
    let deadline = Instant::now() + Duration::from_secs(30);
    let recovery = loop {
        match Journaled::open(&settings) {
            Ok((_, recovery)) => break recovery,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((recovery.traces_waiting, recovery.resent), (1, 1));
}
