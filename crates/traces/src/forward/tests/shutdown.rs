//! The end of a forwarder.

#![allow(clippy::unwrap_used)]

use spoor_policy::Version;
use tokio_util::sync::CancellationToken;

use super::process::{Process, ROOT, SpanNumber, copy, request, spans_of, table};
use crate::{Forwarder, ForwarderSettings};

/// Sends a trace that is complete and one that waits, and shuts down; returns what is forwarded.
async fn shut_down(settings: ForwarderSettings) -> Vec<SpanNumber> {
    let shutdown = CancellationToken::new();
    let forwarder = Forwarder::start(settings, shutdown.clone()).unwrap();
    let accept = |spans: &[SpanNumber]| {
        let mut reservation = forwarder.receiver.memory().reservation();
        forwarder
            .receiver
            .accept(&request(spans, 0), &mut reservation)
            .unwrap();
    };
    accept(&[(1, ROOT)]);
    let version = Version {
        epoch: 1,
        sequence: 1,
    };
    forwarder.set_tail(version, table(true, "0%"));
    accept(&[(2, 2)]);
    shutdown.cancel();
    let mut forwarded = Vec::new();
    while let Some(batch) = forwarder.next_batch().await {
        forwarded.extend(spans_of(&batch));
        forwarder.sent(&batch);
    }
    assert!(forwarder.receiver.is_closed());
    forwarded
}

#[tokio::test]
async fn waiting_traces_are_decided_without_a_journal() {
    let settings = Process::start(1 << 20).settings;
    let forwarded = shut_down(ForwarderSettings {
        journal: None,
        ..settings
    })
    .await;
    assert_eq!(forwarded, [(1, ROOT), (2, 2)]);
}

#[tokio::test]
async fn waiting_traces_are_decided_if_so_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Process::start(1 << 20).settings;
    settings.journal.as_mut().unwrap().folder = folder.path().to_owned();
    settings.decides_at_shutdown = true;
    assert_eq!(shut_down(settings.clone()).await, [(1, ROOT), (2, 2)]);
    let process = Process::open(copy(folder.path()), settings);
    assert_eq!(process.recovery.traces_waiting, 0);
}

#[tokio::test]
async fn waiting_traces_are_left_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Process::start(1 << 20).settings;
    settings.journal.as_mut().unwrap().folder = folder.path().to_owned();
    assert_eq!(shut_down(settings.clone()).await, [(1, ROOT)]);
    let mut process = Process::open(copy(folder.path()), settings);
    assert_eq!(process.recovery.traces_waiting, 1);
    process.decide();
    assert_eq!(process.send(), [(2, 2)]);
}
