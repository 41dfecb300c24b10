#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{hash::resource_hash, span::Signature};

fn id(number: u64) -> TraceId {
    TraceId::from_bytes((u128::from(number) + 1).to_be_bytes())
}

struct Spans {
    body: Vec<u8>,
    start_at: u32,
    parts: [Vec<u8>; 2],
}

impl Spans {
    fn new(len: usize) -> Self {
        Self {
            body: vec![7; len],
            start_at: 0,
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
            start_at: self.start_at,
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
            start_at: 0,
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

/// The mark of a trace, which has a number in common with one neighbour, and the other with two.
fn mark(trace: u64) -> Mark {
    Mark {
        output: trace / 2,
        sampler: trace / 3,
    }
}

fn find(log: &Log, trace: u64) -> Option<TraceAt> {
    log.find(id(trace), log.hasher.hash(id(trace)))
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
    /// The trace that began `back` traces after the oldest.
    Remove {
        back: usize,
    },
    Carry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20u64, 1..3_000usize).prop_map(|(back, len)| Step::Span { back, len }),
        4 => (1..3_000usize).prop_map(|len| Step::Begin { len }),
        4 => (0..5usize).prop_map(|back| Step::Remove { back }),
        1 => Just(Step::Carry),
    ]
}

proptest! {
    /// Traces begin, grow, are carried and are removed in any order, and each keeps its spans and
    /// its mark, which it may share with a neighbour.
    #[test]
    fn removes_in_any_order(steps in vec(step(), 1..300)) {
        // Segments of 8 KiB.
        let mut log = Log::new(0, IdHasher::default());
        // In the order of the log, each with the number of its spans.
        let mut waiting: Vec<(u64, usize)> = Vec::new();
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
                    log.set_mark(mark(begun));
                    Spans::new(len).add(&mut log, begun);
                    waiting.push((begun, 1));
                    begun += 1;
                }
                Step::Remove { back } if back < waiting.len() => {
                    let (trace, spans) = waiting.remove(back);
                    let at = find(&log, trace).unwrap();
                    log.remove(at, spans);
                    prop_assert_eq!(find(&log, trace), None);
                }
                Step::Remove { .. } => {}
                Step::Carry => {
                    if let Some(at) = log.oldest() {
                        log.carry(at).unwrap();
                        waiting.rotate_left(1);
                    }
                }
            }
            let oldest = log.oldest().map(|at| log.trace(at).unwrap().id);
            prop_assert_eq!(oldest, waiting.first().map(|(trace, _)| id(*trace)));
            prop_assert_eq!(log.len(), waiting.len());
            prop_assert_eq!(log.spans(), waiting.iter().map(|(_, spans)| spans).sum::<usize>());
            for (trace, spans) in &waiting {
                let at = find(&log, *trace).unwrap();
                prop_assert_eq!(log.mark(at), mark(*trace));
                prop_assert_eq!(log.spans_of(at).count(), *spans);
            }
        }
    }
}

#[test]
fn removed_traces_take_no_memory() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(1_000);
    for trace in 0..1_000 {
        let at = spans.add(&mut log, trace);
        log.remove(at, 1);
        assert_eq!(log.oldest(), None);
    }
    assert!(log.allocated() < 150_000, "{}", log.allocated());
}

#[test]
fn a_carried_trace_frees_its_segment() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(1_000);
    spans.add(&mut log, 0);
    for trace in 1..1_000 {
        let at = spans.add(&mut log, trace);
        log.remove(at, 1);
    }
    assert!(log.allocated() > 1_000_000, "{}", log.allocated());
    let later = Instant::now() + Duration::from_secs(1);
    let at = log.oldest_before(later).unwrap();
    let carried = log.carry(at).unwrap();
    assert_eq!(log.trace(carried).unwrap().id, id(0));
    assert_eq!(
        log.oldest_before(later),
        None,
        "it is in the newest segment"
    );
    assert!(log.allocated() < 150_000, "{}", log.allocated());
    let (_, segment, span) = log.spans_of(carried).next().unwrap();
    assert_eq!(segment.body(span), spans.body);
}

/// Asserts that the only span of a trace is complete when it is read; returns the number of bytes
/// that are left out of it.
fn left_out(log: &Log, at: TraceAt, body: &[u8]) -> usize {
    let trace_id = log.trace(at).unwrap().id;
    let (_, segment, span) = log.spans_of(at).next().unwrap();
    let mut buffer = Vec::new();
    let (read, _) = segment.read(trace_id, span, &mut buffer).unwrap();
    assert_eq!(read.body, body);
    body.len() - segment.body(span).len()
}

/// A span that begins with the ID of one trace and has the times of another.
fn body(of_id: u64, of_times: u64) -> Vec<u8> {
    let id = [&[10, 16][..], &id(of_id).to_bytes()[..], &b"before"[..]].concat();
    let start = [&[0x39][..], &of_times.to_le_bytes()[..]].concat();
    let end = [&[0x41][..], &(of_times + 1).to_le_bytes()[..]].concat();
    [id, start, end, b"after".to_vec()].concat()
}

#[test]
fn left_out_parts_are_added_again() {
    let mut log = Log::new(0, IdHasher::default()).with_shortened_spans();
    let mut spans = Spans::new(0);
    let cases = [
        (1, body(1, 1), 24, 36),
        // The position is not known.
        (2, body(2, 2), 0, 18),
        // Of a repeated field the last one counts, so a span may begin with another one.
        (3, body(3, 1), 24, 18),
        (4, body(1, 4), 24, 0),
        (5, vec![7; 9], 4, 0),
    ];
    for (trace, body, start_at, expected) in cases {
        spans.body.clone_from(&body);
        spans.start_at = start_at;
        let at = spans.add(&mut log, trace);
        assert_eq!(left_out(&log, at, &body), expected, "trace {trace}");
        let carried = log.carry(at).unwrap();
        assert_eq!(left_out(&log, carried, &body), expected.min(18));
    }
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
fn removed_segment_is_freed_after_it_is_read() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(3_000);
    for trace in 0..10 {
        spans.add(&mut log, trace);
    }
    let snapshot = log.snapshot();
    let read_now: Vec<_> = snapshot.newest_first().collect();
    for trace in 0..10 {
        let at = find(&log, trace).unwrap();
        log.remove(at, 1);
    }
    assert_eq!(log.oldest(), None);
    assert_eq!(snapshot.newest_first().count(), read_now.len());
    drop(read_now);
    // The newest one is a copy.
    assert_eq!(snapshot.newest_first().count(), 1);
}
