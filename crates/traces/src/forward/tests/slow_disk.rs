//! A disk on which a write takes long.

#![allow(clippy::unwrap_used)]

use std::{fs::OpenOptions, process::Command, sync::mpsc, time::Duration};

use prometheus_client::{encoding::text::encode, registry::Registry};
use spoor_policy::Version;
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;

use super::process::{Process, ROOT, SpanNumber, accept, request, spans_of, table};
use crate::{
    Forwarder, ForwarderSettings, forward::FLUSH_INTERVAL, memory::Reservation, scan::scan,
};

const DEADLINE: Duration = Duration::from_secs(30);

fn accept_span(forwarder: &Forwarder, span: SpanNumber) {
    accept(forwarder, &request(&[span], 0)).unwrap();
}

/// Does everything that must not wait for a write; returns the spans received.
fn read(forwarder: &Forwarder) -> u64 {
    let mut registry = Registry::default();
    forwarder.register(&mut registry);
    encode(&mut String::new(), &registry).unwrap();
    let version = Version {
        epoch: 1,
        sequence: 1,
    };
    forwarder.set_tail(version, table(true, "0%"));
    assert!(forwarder.tail_counts().is_empty());
    forwarder.totals().received
}

#[tokio::test]
async fn slow_write_delays_only_other_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings: ForwarderSettings = Process::start(1 << 20).settings;
    settings.journal.as_mut().unwrap().folder = folder.path().to_owned();
    let forwarder = Forwarder::start(settings, CancellationToken::new()).unwrap();
    accept_span(&forwarder, (1, ROOT));
    forwarder.shared.state().outgoing.batches.complete();
    let (is_writing, writes) = oneshot::channel();
    let (end_write, write_ends) = mpsc::channel::<()>();
    let writer = forwarder.clone();
    let writing = spawn_blocking(move || {
        let appender = writer.shared.journaled.appender();
        is_writing.send(()).unwrap();
        // Also ends when the test fails.
        let _ended = write_ends.recv();
        drop(appender);
    });
    writes.await.unwrap();

    let reader = forwarder.clone();
    let reading = spawn_blocking(move || read(&reader));
    assert_eq!(timeout(DEADLINE, reading).await.unwrap().unwrap(), 1);
    let batch = timeout(DEADLINE, forwarder.next_batch()).await.unwrap();
    assert_eq!(spans_of(&batch.unwrap()), [(1, ROOT)]);
    let sender = forwarder.clone();
    let mut accepting = spawn_blocking(move || accept_span(&sender, (3, ROOT)));
    let accepted = timeout(FLUSH_INTERVAL, &mut accepting).await;
    assert!(accepted.is_err(), "accepted without a record");
    end_write.send(()).unwrap();
    accepting.await.unwrap();
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_opening_does_not_delay_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings: ForwarderSettings = Process::start(1 << 20).settings;
    settings.journal.as_mut().unwrap().folder = folder.path().to_owned();
    let forwarder = Forwarder::start_without_journal(settings.clone(), CancellationToken::new());
    // The journal reads this pipe until the other end is closed.
    let pipe = folder.path().join("decisions-0000000000000001");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let opener = forwarder.clone();
    let opening = spawn_blocking(move || opener.open_journal(&settings).unwrap());
    let connecting = spawn_blocking(move || OpenOptions::new().write(true).open(pipe).unwrap());
    let writer = timeout(DEADLINE, connecting).await.unwrap().unwrap();

    let reader = forwarder.clone();
    let reading = timeout(DEADLINE, spawn_blocking(move || read(&reader))).await;
    // Also if the test fails.
    drop(writer);
    assert_eq!(reading.unwrap().unwrap(), 0);
    opening.await.unwrap();
    // The rules that were put in force meanwhile apply.
    assert!(forwarder.shared.state().sampler.is_gathering());
}

/// A replay would not apply them either.
#[test]
fn rules_do_not_apply_to_a_recorded_request() {
    let mut process = Process::start(1 << 20);
    process.set_table(table(true, "0%"));
    let request = request(&[(1, ROOT)], 0);
    let scanned = scan(&request, &mut Reservation::unbounded()).unwrap();
    // It was written before the rules were put in force.
    let passed = process.state().accept(&scanned, false);
    assert_eq!(passed.len(), 1);
    assert_eq!(process.totals().traces_gathering, 0);
}
