//! Random requests, rings, deliveries, decisions, batches and kills of three processes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::process::{Process, SpanNumber, next_spans, request, spans_of, table};
use crate::forward::{Batch, Rings};

const SAMPLERS: usize = 3;
/// The traces of a test that may have spans at the same time.
const TRACES: u64 = 8;

#[derive(Clone, Debug)]
enum Step {
    /// The next span of each of these traces arrives from a Collector.
    Request { at: usize, traces: Vec<u64> },
    /// A peer takes some of the parts for it. Its response may be lost.
    Forward {
        from: usize,
        to: usize,
        max: usize,
        is_lost: bool,
    },
    /// A sampler receives one of the lists so far.
    Learn { at: usize, list: Index },
    /// There is another ring.
    Scale { members: u32 },
    /// The former rings end.
    EndFormer,
    /// A sampler decides on all its waiting traces.
    Decide { at: usize },
    /// A sampler completes a batch and cleans up its journal.
    Flush { at: usize },
    /// A batch is handed out.
    Take { at: usize },
    /// One of the batches handed out arrives and is confirmed.
    Send { at: usize, batch: usize },
    /// A sampler is killed. The batches in flight have arrived, or have not.
    Kill { at: usize, arrived: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..SAMPLERS;
    let pair = (0..SAMPLERS, 1..SAMPLERS);
    prop_oneof![
        10 => (at.clone(), vec(0..TRACES, 1..4))
            .prop_map(|(at, traces)| Step::Request { at, traces }),
        16 => (pair, 1..4_usize, prop::bool::weighted(0.2)).prop_map(
            |((from, by), max, is_lost)| Step::Forward {
                from,
                to: (from + by) % SAMPLERS,
                max,
                is_lost,
            }
        ),
        4 => (at.clone(), any::<Index>()).prop_map(|(at, list)| Step::Learn { at, list }),
        2 => (1..=SAMPLERS as u32).prop_map(|members| Step::Scale { members }),
        1 => Just(Step::EndFormer),
        3 => at.clone().prop_map(|at| Step::Decide { at }),
        4 => at.clone().prop_map(|at| Step::Flush { at }),
        4 => at.clone().prop_map(|at| Step::Take { at }),
        4 => (at.clone(), 0..4_usize).prop_map(|(at, batch)| Step::Send { at, batch }),
        3 => (at, any::<bool>()).prop_map(|(at, arrived)| Step::Kill { at, arrived }),
    ]
}

/// A process, with the batches handed out, each with whether it was sent.
struct Sampler {
    process: Process,
    taken: Vec<(Batch, bool)>,
}

/// Three samplers, with the spans that Collectors have sent and the receiver has received.
struct Samplers {
    samplers: Vec<Sampler>,
    /// All lists of rings so far.
    lists: Vec<Rings>,
    /// Earlier traces have no more spans.
    first_trace: u64,
    padding: usize,
    /// The spans that were acknowledged.
    accepted: BTreeSet<SpanNumber>,
    /// The number of times that each span has arrived.
    arrived: BTreeMap<SpanNumber, u64>,
    /// The samplers that have sent spans of each trace.
    sent_by: BTreeMap<u64, BTreeSet<usize>>,
    /// The spans of which a batch was in flight at a kill.
    may_repeat: BTreeSet<SpanNumber>,
}

fn rings(generation: u64, members: &[u32]) -> Rings {
    Rings::new(generation, members).unwrap()
}

fn set_rules(process: &mut Process) {
    process.set_table(table(true, "0%"));
}

impl Samplers {
    fn new(members: u32, padding: usize) -> Self {
        let first = rings(1, &[members]);
        let sampler = |own| {
            let mut process = Process::start_among(own, &first, 512 << 10);
            set_rules(&mut process);
            Sampler {
                process,
                taken: Vec::new(),
            }
        };
        Self {
            samplers: (0..SAMPLERS as u16).map(sampler).collect(),
            lists: vec![first],
            first_trace: 0,
            padding,
            accepted: BTreeSet::new(),
            arrived: BTreeMap::new(),
            sent_by: BTreeMap::new(),
            may_repeat: BTreeSet::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Request { at, traces } => self.request(at, traces),
            Step::Forward {
                from,
                to,
                max,
                is_lost,
            } => {
                self.forward(from, to, max, is_lost);
            }
            Step::Learn { at, list } => {
                let list = list.get(&self.lists).clone();
                self.samplers[at].process.set_rings(list);
            }
            Step::Scale { members } => self.scale(members),
            Step::EndFormer => self.end_former(),
            Step::Decide { at } => self.samplers[at].process.decide(),
            Step::Flush { at } => self.samplers[at].process.flush(),
            Step::Take { at } => {
                let sampler = &mut self.samplers[at];
                let batch = sampler.process.next_batch();
                sampler.taken.extend(batch.map(|batch| (batch, false)));
            }
            Step::Send { at, batch } => self.send(at, batch),
            Step::Kill { at, arrived } => self.kill(at, arrived),
        }
    }

    fn request(&mut self, at: usize, traces: Vec<u64>) {
        let first = self.first_trace;
        let traces = traces.into_iter().map(|trace| first + trace);
        let spans = next_spans(&self.accepted, traces);
        // One that is in no ring, or has no room, refuses the request.
        let request = request(&spans, self.padding);
        if self.samplers[at].process.accept(&request).is_ok() {
            self.accepted.extend(spans);
        }
    }

    fn forward(&mut self, from: usize, to: usize, max: usize, is_lost: bool) -> usize {
        let pair = self.samplers.get_disjoint_mut([from, to]).unwrap();
        let [from, to] = pair.map(|sampler| &mut sampler.process);
        from.forward(to, max, is_lost)
    }

    fn newest(&self) -> &Rings {
        self.lists.last().unwrap()
    }

    /// Adds a ring. One with as many members before it is not needed any more.
    fn scale(&mut self, members: u32) {
        let former = self.newest().members().filter(|former| *former != members);
        let list: Vec<u32> = former.chain([members]).collect();
        let generation = self.newest().generation() + 1;
        self.lists.push(rings(generation, &list));
    }

    /// Ends the former rings, after all samplers have had the newest list for so long that no trace
    /// from before it has more spans.
    fn end_former(&mut self) {
        self.agree();
        self.first_trace += TRACES;
        let current = self.newest().members().last().unwrap();
        let generation = self.newest().generation() + 1;
        self.lists.push(rings(generation, &[current]));
    }

    /// Gives all samplers the newest list, and delivers all parts. Samplers that have no room for
    /// them make some.
    fn agree(&mut self) {
        let newest = self.newest().clone();
        for sampler in &mut self.samplers {
            sampler.process.set_rings(newest.clone());
        }
        for _ in 0..1_000 {
            let mut taken = 0;
            for from in 0..SAMPLERS {
                for to in (0..SAMPLERS).filter(|to| *to != from) {
                    taken += self.forward(from, to, usize::MAX, false);
                }
            }
            let parts = self.samplers.iter().map(|it| it.process.parts());
            if parts.sum::<usize>() == 0 {
                return;
            }
            if taken == 0 {
                self.send_all();
            }
        }
        panic!("parts are not delivered");
    }

    fn arrive(&mut self, at: usize, span: SpanNumber) {
        *self.arrived.entry(span).or_default() += 1;
        self.sent_by.entry(span.0).or_default().insert(at);
    }

    fn send(&mut self, at: usize, number: usize) {
        let sampler = &mut self.samplers[at];
        let mut in_flight = sampler.taken.iter_mut().filter(|(_, is_sent)| !is_sent);
        let Some((batch, is_sent)) = in_flight.nth(number) else {
            return;
        };
        *is_sent = true;
        sampler.process.sent(batch);
        for span in spans_of(batch) {
            self.arrive(at, span);
        }
    }

    /// Decides on all traces and sends all batches.
    fn send_all(&mut self) {
        for at in 0..SAMPLERS {
            while self.samplers[at].taken.iter().any(|(_, sent)| !sent) {
                self.send(at, 0);
            }
            let process = &mut self.samplers[at].process;
            process.decide();
            for span in process.send() {
                self.arrive(at, span);
            }
        }
    }

    fn kill(&mut self, at: usize, arrived: bool) {
        let Sampler { process, taken } = self.samplers.remove(at);
        let mut process = process.kill();
        set_rules(&mut process);
        let killed = Sampler {
            process,
            taken: Vec::new(),
        };
        self.samplers.insert(at, killed);
        let in_order = taken.iter().take_while(|(_, is_sent)| *is_sent).count();
        for (batch, is_sent) in taken.into_iter().skip(in_order) {
            for span in spans_of(&batch) {
                self.may_repeat.insert(span);
                if arrived && !is_sent {
                    self.arrive(at, span);
                }
            }
        }
    }

    fn finish(&mut self) {
        for at in 0..SAMPLERS {
            self.kill(at, true);
        }
        self.agree();
        for _ in 0..2 {
            self.send_all();
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let traces: BTreeSet<u64> = self.accepted.iter().map(|(trace, _)| *trace).collect();
        for trace in traces {
            let of_trace = |span: &&SpanNumber| span.0 == trace;
            let accepted: Vec<_> = self.accepted.iter().filter(of_trace).collect();
            let arrived: Vec<_> = self.arrived.keys().filter(of_trace).collect();
            // The trace has one decision. Those with an error are kept.
            let is_kept = trace.is_multiple_of(2) || !arrived.is_empty();
            prop_assert!(!is_kept || arrived == accepted, "trace {}", trace);
        }
        for (span, times) in &self.arrived {
            let repeated = *times > 1;
            prop_assert!(!repeated || self.may_repeat.contains(span), "{:?}", span);
        }
        for (trace, samplers) in &self.sent_by {
            prop_assert_eq!(samplers.len(), 1, "trace {}: {:?}", trace, samplers);
        }
        for sampler in &self.samplers {
            let totals = sampler.process.totals();
            prop_assert_eq!(totals.received, totals.kept + totals.dropped());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Large spans fill the journals and the queues; small ones do not.
    #[test]
    fn nothing_is_lost_split_or_decided_twice(
        first in 1..=SAMPLERS as u32,
        steps in vec(step(), 1..150),
        padding in prop_oneof![Just(0_usize), Just(1_500_usize), Just(9_000_usize)],
    ) {
        let mut samplers = Samplers::new(first, padding);
        for step in steps {
            samplers.apply(step);
        }
        samplers.finish();
        samplers.check()?;
    }
}
