#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::VecDeque, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{hash::resource_hash, span::Signature};

const ONE_HOUR: Duration = Duration::from_secs(3600);

fn id(number: u64) -> TraceId {
    TraceId::from_bytes((u128::from(number) + 1).to_be_bytes())
}

struct Spans {
    body: Vec<u8>,
    parts: [Vec<u8>; 2],
}

impl Spans {
    fn new(len: usize) -> Self {
        Self {
            body: vec![7; len],
            parts: [b"resource".to_vec(), b"scope".to_vec()],
        }
    }

    fn add(&self, log: &mut Log, trace: u64) -> TraceAt {
        let (id, hash) = (id(trace), log.hasher.hash(id(trace)));
        let span = NewSpan {
            trace_id: id,
            body: &self.body,
            name: b"name",
            kind: 1,
            start: trace,
            duration: 1,
            signature: Signature::default(),
        };
        let [resource, scope] = &self.parts;
        let source = NewSource {
            resource: &[resource],
            resource_hash: resource_hash(&[resource]),
            resource_bytes: resource.len(),
            shares_resource: false,
            scope: &[scope],
            service: b"service",
            namespace: b"",
        };
        let mut interned = Interned::default();
        let new = Destination::New { hash, note: 0 };
        let to = log.find(id, hash).map_or(new, Destination::Known);
        log.append(to, &span, &source, &mut interned).unwrap()
    }
}

#[test]
fn long_sources_are_stored_once() {
    // Segments of 8 KiB.
    let mut log = Log::new(0, IdHasher::default());
    let mut spans = [Spans::new(10), Spans::new(10)];
    spans[0].parts[0] = vec![1; 6 << 10];
    spans[1].parts[0] = vec![2; 20 << 10];
    for trace in 0..200 {
        spans[trace as usize % 2].add(&mut log, trace);
    }
    assert!(log.allocated() < 200 << 10, "{}", log.allocated());
    // Each span in a scope of its own.
    for trace in 200..400 {
        spans[0].parts[1] = trace.to_string().into_bytes();
        spans[0].add(&mut log, trace);
    }
    assert!(log.allocated() < 400 << 10, "{}", log.allocated());
}

#[test]
fn scopes_share_a_resource_and_its_namespace() {
    // A segment of 1 MiB.
    let mut log = Log::new(64 << 20, IdHasher::default());
    let resource: &[&[u8]] = &[&[1; 60_000], b"more"];
    let mut interned = Interned::default();
    for number in 0..1_000_u64 {
        let scope = number.to_string();
        let source = NewSource {
            resource,
            resource_hash: resource_hash(resource),
            resource_bytes: 60_004,
            shares_resource: number % 10 > 0,
            scope: &[scope.as_bytes()],
            service: &[2; 1_024],
            namespace: &[3; 1_024],
        };
        interned.advance(&source);
        let span = NewSpan {
            trace_id: id(number),
            body: b"span",
            name: b"name",
            kind: 1,
            start: 1,
            duration: 1,
            signature: Signature::default(),
        };
        let hash = log.hasher.hash(id(number));
        let to = Destination::New { hash, note: 0 };
        log.append(to, &span, &source, &mut interned).unwrap();
    }
    let bytes = log.active.bytes.len();
    assert!((62_000..80_000).contains(&bytes), "{bytes}");
    let sources: Vec<_> = log.active.sources.iter().collect();
    assert_eq!(sources.len(), 1_000);
    assert_eq!(sources[999].scope.of(&log.active.bytes), b"999");
    assert_eq!(sources[999].resource, sources[0].resource);
    assert_eq!(sources[999].namespace.of(&log.active.bytes), [3; 1_024]);
}

fn note(log: &Log, trace: u64) -> Option<u32> {
    let at = log.find(id(trace), log.hasher.hash(id(trace)))?;
    Some(log.trace(at)?.note())
}

#[derive(Clone, Debug)]
enum Step {
    /// A span of the trace that began `back` traces before the newest.
    Span {
        back: u64,
        len: usize,
    },
    Begin {
        len: usize,
    },
    Decide,
    Forget {
        max: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20u64, 1..3_000usize).prop_map(|(back, len)| Step::Span { back, len }),
        4 => (1..3_000usize).prop_map(|len| Step::Begin { len }),
        4 => Just(Step::Decide),
        1 => (0..10usize).prop_map(|max| Step::Forget { max }),
    ]
}

proptest! {
    /// Traces begin, grow and are decided in order, and each keeps its spans and its note.
    #[test]
    fn decides_in_the_order_of_arrival(steps in vec(step(), 1..300)) {
        // Segments of 8 KiB.
        let mut log = Log::new(0, IdHasher::default());
        let mut waiting: VecDeque<(u64, usize)> = VecDeque::new();
        let mut begun = 0;
        for step in steps {
            match step {
                Step::Span { back, len } => {
                    let newest = waiting.len().checked_sub(back as usize + 1);
                    if let Some((trace, spans)) = newest.and_then(|at| waiting.get_mut(at)) {
                        Spans::new(len).add(&mut log, *trace);
                        *spans += 1;
                    }
                }
                Step::Begin { len } => {
                    Spans::new(len).add(&mut log, begun);
                    waiting.push_back((begun, 1));
                    begun += 1;
                }
                Step::Decide => {
                    let oldest = log.oldest();
                    prop_assert_eq!(oldest.is_some(), !waiting.is_empty());
                    if let (Some(at), Some((trace, spans))) = (oldest, waiting.pop_front()) {
                        prop_assert_eq!(log.trace(at).unwrap().id, id(trace));
                        prop_assert_eq!(log.spans_of(at).count(), spans);
                        log.mark_oldest_decided(trace as u32 + 1, spans);
                        prop_assert_eq!(note(&log, trace), Some(trace as u32 + 1));
                    }
                }
                Step::Forget { max } => log.forget(max, ONE_HOUR),
            }
            prop_assert_eq!(log.spans(), waiting.iter().map(|(_, spans)| spans).sum::<usize>());
            for (trace, spans) in &waiting {
                prop_assert_eq!(note(&log, *trace), Some(0));
                let at = log.find(id(*trace), log.hasher.hash(id(*trace))).unwrap();
                prop_assert_eq!(log.spans_of(at).count(), *spans);
            }
        }
    }
}

#[test]
fn forgets_decided_traces_beyond_a_limit() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(1_000);
    for trace in 0..1_000 {
        spans.add(&mut log, trace);
        log.mark_oldest_decided(1, 1);
        log.forget(100, ONE_HOUR);
    }
    assert!((100..130).contains(&log.len()), "{}", log.len());
    assert_eq!(note(&log, 0), None);
    assert_eq!(note(&log, 900), Some(1));
    // Without their spans.
    assert!(log.allocated() < 150_000, "{}", log.allocated());
    log.forget(100, Duration::ZERO);
    assert!(log.len() < 10, "{}", log.len());
}

#[test]
fn forgets_all_once_nothing_waits() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(100);
    spans.add(&mut log, 0);
    spans.add(&mut log, 1);
    log.mark_oldest_decided(1, 1);
    log.retire();
    assert_eq!(note(&log, 1), Some(0), "still waiting");
    log.mark_oldest_decided(1, 1);
    log.retire();
    assert_eq!(note(&log, 0), Some(1));
    log.forget(100, Duration::ZERO);
    assert_eq!(log.len(), 0);
    spans.add(&mut log, 0);
    assert_eq!(note(&log, 0), Some(0));
}

#[test]
fn snapshot_does_not_keep_evicted_segments() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(2_000);
    for trace in 0..30 {
        spans.add(&mut log, trace);
    }
    let snapshot = log.snapshot();
    assert!(snapshot.newest_first().count() > 5);
    // The newest one is a copy.
    let (_, read_now) = snapshot.newest_first().nth(1).unwrap();
    while log.evict_oldest(|_| {}).is_some() {}
    assert_eq!(snapshot.newest_first().count(), 2);
    assert_eq!(read_now.spans.len(), 4);
    drop(read_now);
    assert_eq!(snapshot.newest_first().count(), 1);
}

#[test]
fn decision_is_remembered_while_its_segment_is_read() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(3_000);
    for trace in 0..10 {
        spans.add(&mut log, trace);
    }
    let snapshot = log.snapshot();
    let read_now: Vec<_> = snapshot.newest_first().collect();
    for _ in 0..10 {
        log.mark_oldest_decided(1, 1);
    }
    log.retire();
    drop(read_now);
    for trace in 0..10 {
        assert_eq!(note(&log, trace), Some(1), "{trace}");
    }
}
