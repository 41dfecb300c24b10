//! Random requests, rules, decisions, batches and kills.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use spoor_policy::TailTable;

use super::process::{Process, SpanNumber, next_spans, request, spans_of, table};
use crate::forward::Batch;

/// The traces of a test.
const TRACES: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    /// The next span of each of these traces.
    Request(Vec<u64>),
    /// One of the tables.
    Rules(usize),
    /// Decides on all waiting traces.
    Decide,
    /// Decides on at most this many that are due.
    DecideDue(usize),
    /// Completes a batch and cleans up the journal.
    Flush,
    /// A batch is handed out.
    Take,
    /// One of the batches handed out arrives and is confirmed.
    Send(usize),
    /// The process is killed. The batches in flight have arrived, or have not.
    Kill { arrived: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(0..TRACES, 1..4).prop_map(Step::Request),
        1 => (0..4_usize).prop_map(Step::Rules),
        1 => Just(Step::Decide),
        2 => (1..4_usize).prop_map(Step::DecideDue),
        4 => Just(Step::Flush),
        4 => Just(Step::Take),
        4 => (0..4_usize).prop_map(Step::Send),
        2 => any::<bool>().prop_map(|arrived| Step::Kill { arrived }),
    ]
}

fn rules(number: usize) -> TailTable {
    match number {
        0 => TailTable::default(),
        1 => table(true, "0%"),
        2 => table(true, "100%"),
        _ => table(false, "0%"),
    }
}

/// A process, with the spans that the sender has sent and the receiver has received.
struct Test {
    process: Process,
    rules: usize,
    /// The spans that were acknowledged.
    accepted: BTreeSet<SpanNumber>,
    /// The number of times that each span has arrived.
    arrived: BTreeMap<SpanNumber, u64>,
    /// The batches handed out, each with whether it was sent.
    taken: Vec<(Batch, bool)>,
    /// The spans of which a batch was in flight at a kill.
    may_repeat: BTreeSet<SpanNumber>,
}

impl Test {
    fn new(max_bytes: u64) -> Self {
        Self {
            process: Process::start(max_bytes),
            rules: 0,
            accepted: BTreeSet::new(),
            arrived: BTreeMap::new(),
            taken: Vec::new(),
            may_repeat: BTreeSet::new(),
        }
    }

    fn apply(mut self, step: Step, padding: usize) -> Self {
        match step {
            Step::Request(traces) => self.request(traces, padding),
            Step::Rules(number) => {
                self.rules = number;
                self.process.set_table(rules(number));
            }
            Step::Decide => self.process.decide(),
            Step::DecideDue(max) => {
                let now = Instant::now() + Duration::from_millis(20);
                self.process
                    .decide_some(|sampler, outgoing| sampler.decide_due(now, max, outgoing));
            }
            Step::Flush => self.process.flush(),
            Step::Take => {
                let batch = self.process.next_batch();
                self.taken.extend(batch.map(|batch| (batch, false)));
            }
            Step::Send(number) => self.send(number),
            Step::Kill { arrived } => return self.kill(arrived),
        }
        self
    }

    fn request(&mut self, traces: Vec<u64>, padding: usize) {
        let spans = next_spans(&self.accepted, traces);
        // A full journal refuses the request.
        if self.process.accept(&request(&spans, padding)).is_ok() {
            self.accepted.extend(spans);
        }
    }

    fn send(&mut self, number: usize) {
        let mut in_flight = self.taken.iter_mut().filter(|(_, is_sent)| !is_sent);
        let Some((batch, is_sent)) = in_flight.nth(number) else {
            return;
        };
        *is_sent = true;
        for span in spans_of(batch) {
            *self.arrived.entry(span).or_default() += 1;
        }
        self.process.sent(batch);
    }

    fn kill(mut self, arrived: bool) -> Self {
        let in_order = self
            .taken
            .iter()
            .take_while(|(_, is_sent)| *is_sent)
            .count();
        for (batch, is_sent) in self.taken.drain(..).skip(in_order) {
            for span in spans_of(&batch) {
                self.may_repeat.insert(span);
                if arrived && !is_sent {
                    *self.arrived.entry(span).or_default() += 1;
                }
            }
        }
        let mut process = self.process.kill();
        process.set_table(rules(self.rules));
        Self { process, ..self }
    }

    /// Decides on all traces and sends all batches.
    fn finish(&mut self) {
        for _ in 0..2 {
            while self.taken.iter().any(|(_, is_sent)| !is_sent) {
                self.send(0);
            }
            self.process.decide();
            for span in self.process.send() {
                *self.arrived.entry(span).or_default() += 1;
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for trace in 0..TRACES {
            let of_trace = |span: &&SpanNumber| span.0 == trace;
            let accepted: Vec<_> = self.accepted.iter().filter(of_trace).collect();
            let arrived: Vec<_> = self.arrived.keys().filter(of_trace).collect();
            // The trace has one decision.
            prop_assert!(arrived.is_empty() || arrived == accepted, "trace {}", trace);
        }
        for (span, times) in &self.arrived {
            let repeated = *times > 1;
            prop_assert!(!repeated || self.may_repeat.contains(span), "{:?}", span);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Large spans fill the journal, which then has many segments; small ones do not.
    #[test]
    fn nothing_is_lost_or_decided_twice(
        steps in vec(step(), 1..120),
        padding in prop_oneof![Just(0_usize), Just(1_500_usize), Just(6_000_usize)],
    ) {
        let mut test = Test::new(256 << 10);
        for step in steps {
            test = test.apply(step, padding);
        }
        test = test.kill(true);
        test.finish();
        test.check()?;
        let totals = test.process.totals();
        prop_assert_eq!(totals.received, totals.kept + totals.dropped() + totals.gathering);
    }
}
