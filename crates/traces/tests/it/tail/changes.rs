//! Traces over time: late spans, changes to the rules, and the time of the decision.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
};
use prost::Message;
use spoor_policy::TailTable;
use spoor_traces::{KeepReason, StoredTrace, TailSettings};

use super::{failed, id_of, long_wait, rules, send, start, table, trace};
use crate::{
    receiver::{assert_balanced, eventually},
    spans::{batch, span},
};

#[tokio::test]
async fn late_spans_follow_their_trace() {
    let (pipeline, _) = start(long_wait());
    pipeline.set_tail(table(rules(), "0%"));
    let dropped = trace(1);
    let kept = Span {
        status: failed(),
        ..trace(2)
    };
    send(
        &pipeline,
        vec![batch("service-a", vec![dropped.clone(), kept.clone()])],
    );
    pipeline.drain().await;
    let late = |trace| Span {
        status: failed(),
        ..span(trace, 2, 1, "late", 1_000, 9_000)
    };
    send(&pipeline, vec![batch("service-b", vec![late(1), late(2)])]);
    // The same after the rules are removed.
    pipeline.set_tail(TailTable::default());
    send(&pipeline, vec![batch("service-b", vec![late(1), late(2)])]);
    pipeline.drain().await;
    assert!(pipeline.store().trace(id_of(&dropped)).is_none());
    let kept = pipeline.store().trace(id_of(&kept)).unwrap();
    assert_eq!(spans_in(&kept), 3);
    let totals = pipeline.totals();
    assert_eq!((totals.kept, totals.not_sampled), (3, 3));
    assert_eq!((totals.traces_kept, totals.traces_dropped), (1, 1));
    assert_balanced(&pipeline);
}

#[tokio::test]
async fn changed_rules_apply_to_waiting_traces() {
    let (pipeline, _) = start(long_wait());
    // Stored immediately, so a later policy does not apply.
    send(&pipeline, vec![batch("service-a", vec![trace(1)])]);
    assert_eq!(pipeline.store().len(), 1);
    pipeline.set_tail(table(Vec::new(), "100%"));
    send(
        &pipeline,
        vec![batch("service-b", vec![span(1, 2, 1, "x", 1, 2)])],
    );
    assert_eq!(
        pipeline
            .store()
            .trace(id_of(&trace(1)))
            .unwrap()
            .decode()
            .len(),
        2
    );
    // Waiting while the rules change: decided by the rules in force at the decision.
    send(&pipeline, vec![batch("service-a", vec![trace(2)])]);
    pipeline.set_tail(table(Vec::new(), "0%"));
    send(
        &pipeline,
        vec![batch("service-b", vec![span(2, 2, 1, "x", 1, 2)])],
    );
    pipeline.drain().await;
    assert_eq!(pipeline.totals().not_sampled, 2);
    // Waiting when the last policy is removed.
    send(&pipeline, vec![batch("service-a", vec![trace(3)])]);
    pipeline.set_tail(TailTable::default());
    send(
        &pipeline,
        vec![batch("service-b", vec![span(3, 2, 1, "x", 1, 2)])],
    );
    assert!(pipeline.store().trace(id_of(&trace(3))).is_none());
    pipeline.drain().await;
    let stored = pipeline.store().trace(id_of(&trace(3))).unwrap();
    assert_eq!(
        (stored.kept.clone(), stored.decode().len()),
        (KeepReason::NoPolicy, 2)
    );
    assert_balanced(&pipeline);
}

#[tokio::test]
async fn decides_when_the_wait_is_over() {
    let decision_wait = Duration::from_millis(30);
    let (pipeline, _) = start(TailSettings {
        decision_wait,
        ..TailSettings::default()
    });
    pipeline.set_tail(table(Vec::new(), "100%"));
    let sent = std::time::Instant::now();
    send(&pipeline, vec![batch("service-a", vec![trace(1)])]);
    eventually("the trace is decided on", || pipeline.store().len() == 1).await;
    assert!(sent.elapsed() >= decision_wait);
}

#[tokio::test]
async fn a_trace_waits_for_its_root() {
    let (pipeline, _) = start(TailSettings {
        decision_wait: Duration::from_millis(30),
        max_trace_duration: Duration::from_secs(3600),
        ..TailSettings::default()
    });
    pipeline.set_tail(table(rules(), "0%"));
    let child = span(1, 2, 1, "x", 1_000, 1_010);
    send(&pipeline, vec![batch("service-b", vec![child])]);
    let other = Span {
        status: failed(),
        ..trace(2)
    };
    send(&pipeline, vec![batch("service-a", vec![other])]);
    eventually("the other is decided on", || pipeline.store().len() == 1).await;
    assert_eq!(pipeline.totals().traces_gathering, 1);
    let root = Span {
        status: failed(),
        ..trace(1)
    };
    send(&pipeline, vec![batch("service-a", vec![root])]);
    eventually("the trace is decided on", || pipeline.store().len() == 2).await;
    let stored = pipeline.store().trace(id_of(&trace(1))).unwrap();
    assert_eq!(spans_in(&stored), 2);
    assert_balanced(&pipeline);
}

#[tokio::test]
async fn a_trace_without_root_is_decided_in_the_end() {
    let (pipeline, _) = start(TailSettings {
        decision_wait: Duration::from_secs(3600),
        max_trace_duration: Duration::from_millis(30),
        ..TailSettings::default()
    });
    pipeline.set_tail(table(rules(), "0%"));
    let child = span(1, 2, 1, "x", 1_000, 1_010);
    send(&pipeline, vec![batch("service-b", vec![child])]);
    eventually("the trace is decided on", || pipeline.store().len() == 1).await;
    let stored = pipeline.store().trace(id_of(&trace(1))).unwrap();
    assert_eq!(stored.kept, KeepReason::NoRoot);
}

#[tokio::test]
async fn decides_on_all_when_it_shuts_down() {
    let (pipeline, shutdown) = start(long_wait());
    pipeline.set_tail(table(Vec::new(), "100%"));
    send(&pipeline, vec![batch("service-a", vec![trace(1)])]);
    shutdown.cancel();
    eventually("the trace is decided on", || pipeline.store().len() == 1).await;
}

#[tokio::test]
async fn full_memory_causes_early_decisions() {
    let max_bytes = 1 << 20;
    let (pipeline, _) = start(TailSettings {
        max_bytes,
        ..long_wait()
    });
    pipeline.set_tail(table(Vec::new(), "100%"));
    for number in 0..20_000 {
        let resource_spans = vec![batch("service-a", vec![trace(number + 1)])];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        // On a busy machine, the time for early decisions may pass while this thread does not run.
        // The request is refused then, and so are later ones, until the decision task makes room.
        let is_accepted = || pipeline.accept(&request).is_ok();
        eventually("the request is accepted", is_accepted).await;
    }
    let totals = pipeline.totals();
    assert!(totals.traces_decided_early > 10_000, "{totals:?}");
    assert!(totals.gathering < max_bytes as u64 / 100, "{totals:?}");
    assert_balanced(&pipeline);
    pipeline.drain().await;
    assert_eq!(pipeline.totals().kept, 20_000);
}

fn spans_in(trace: &StoredTrace) -> usize {
    let parts = trace.decode();
    parts
        .iter()
        .flat_map(|part| &part.scope_spans)
        .map(|scope| scope.spans.len())
        .sum()
}

const SENDERS: u64 = 4;
const TRACES: u64 = 2_000;

/// Each trace comes in three requests from one of four threads, while the rules change.
#[tokio::test(flavor = "multi_thread")]
async fn decides_once_and_whole_under_changing_rules() {
    let decision_wait = Duration::from_millis(20);
    let (pipeline, _) = start(TailSettings {
        decision_wait,
        ..TailSettings::default()
    });
    let sending = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let pipeline = &pipeline;
                scope.spawn(move || {
                    for number in 0..TRACES {
                        let low = sender * TRACES + number + 1;
                        send(
                            pipeline,
                            vec![batch("service-b", vec![span(low, 3, 2, "z", 1, 2)])],
                        );
                        send(
                            pipeline,
                            vec![batch("service-b", vec![span(low, 2, 1, "y", 1, 2)])],
                        );
                        send(pipeline, vec![batch("service-a", vec![trace(low)])]);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let tables = [
                table(Vec::new(), "0%"),
                table(Vec::new(), "50%"),
                TailTable::default(),
                table(rules(), "10%"),
            ];
            for table in tables.iter().cycle() {
                if !sending.load(Ordering::Relaxed) {
                    return;
                }
                pipeline.set_tail(table.clone());
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        sending.store(false, Ordering::Relaxed);
    });
    pipeline.drain().await;
    let totals = pipeline.totals();
    assert_eq!(totals.received, SENDERS * TRACES * 3);
    assert_eq!(
        totals.kept + totals.not_sampled,
        totals.received,
        "{totals:?}"
    );
    assert_eq!(totals.gathering, 0);
    let mut kept = 0;
    for low in 1..=SENDERS * TRACES {
        if let Some(stored) = pipeline.store().trace(id_of(&trace(low))) {
            assert_eq!(spans_in(&stored), 3, "{low}: {stored:?}");
            kept += 1;
        }
    }
    assert_eq!(totals.kept, kept * 3);
    assert!(kept > 0 && totals.not_sampled > 0, "{totals:?}");
}
