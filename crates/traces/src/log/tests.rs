#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::span::Signature;

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
    Settle {
        back: usize,
    },
    Carry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20u64, 1..3_000usize).prop_map(|(back, len)| Step::Span { back, len }),
        4 => (1..3_000usize).prop_map(|len| Step::Begin { len }),
        4 => (0..5usize).prop_map(|back| Step::Settle { back }),
        1 => Just(Step::Carry),
    ]
}

proptest! {
    /// Traces begin, grow, are carried and are settled in any order, and each keeps its spans.
    #[test]
    fn settles_in_any_order(steps in vec(step(), 1..300)) {
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
                    Spans::new(len).add(&mut log, begun);
                    waiting.push((begun, 1));
                    begun += 1;
                }
                Step::Settle { back } if back < waiting.len() => {
                    let (trace, spans) = waiting.remove(back);
                    let at = find(&log, trace).unwrap();
                    log.settle(at, spans);
                    prop_assert_eq!(find(&log, trace), None);
                }
                Step::Settle { .. } => {}
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
                prop_assert_eq!(log.spans_of(at).count(), *spans);
            }
        }
    }
}

#[test]
fn settled_traces_take_no_memory() {
    let mut log = Log::new(0, IdHasher::default());
    let spans = Spans::new(1_000);
    for trace in 0..1_000 {
        let at = spans.add(&mut log, trace);
        log.settle(at, 1);
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
        log.settle(at, 1);
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
