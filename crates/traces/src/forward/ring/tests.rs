//! Owners, and random spans, rings and delays among several samplers.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// The samplers of a test.
const SAMPLERS: u16 = 4;
/// The traces of a test that may have spans at the same time.
const TRACES: u64 = 6;

fn rings(generation: u64, members: &[u32]) -> Rings {
    Rings::new(generation, members).unwrap()
}

fn id(trace: u64) -> TraceId {
    TraceId::from_bytes(u128::from(trace).to_be_bytes())
}

/// A trace with this chain of owners.
fn trace_with(rings: &Rings, chain: &[u16]) -> TraceId {
    let mut ids = (1..10_000).map(id);
    ids.find(|trace| rings.chain(*trace) == chain).unwrap()
}

#[test]
fn owners_stay_the_same_in_all_versions() {
    let owners = |byte: u8| -> Vec<u16> {
        let trace = TraceId::from_bytes([byte; 16]);
        let rings = [1, 2, 3, 5, 64].map(|members| Ring::new(members).unwrap());
        rings.iter().map(|ring| ring.owner(trace)).collect()
    };
    // Computed with the reference implementation of XXH3.
    assert_eq!(owners(1), [0, 1, 1, 4, 63]);
    assert_eq!(owners(2), [0, 0, 0, 3, 23]);
    assert_eq!(owners(4), [0, 0, 0, 0, 59]);
    assert_eq!(owners(5), [0, 1, 1, 1, 33]);
}

#[test]
fn additional_member_takes_only_its_share() {
    const COUNT: u64 = 30_000;
    let (two, three) = (Ring::new(2).unwrap(), Ring::new(3).unwrap());
    let mut taken = 0;
    for trace in (1..=COUNT).map(id) {
        match three.owner(trace) {
            2 => taken += 1,
            owner => assert_eq!(owner, two.owner(trace)),
        }
    }
    assert!((COUNT / 3).abs_diff(taken) < COUNT / 50, "{taken}");
}

#[test]
fn invalid_rings_are_refused() {
    assert_eq!(Rings::new(1, &[]), Err(InvalidRings::Count(0)));
    assert_eq!(Rings::new(1, &[1; 65]), Err(InvalidRings::Count(65)));
    assert_eq!(Rings::new(1, &[1, 0]), Err(InvalidRings::Members(0)));
    assert_eq!(Rings::new(1, &[65]), Err(InvalidRings::Members(65)));
    let all = Rings::MAX_MEMBERS;
    let valid = rings(1, &[3, u32::from(all)]);
    assert_eq!(valid.members().collect::<Vec<_>>(), [3, u32::from(all)]);
    assert!(valid.has_member(all - 1) && !valid.has_member(all));
}

#[test]
fn newer_rings_replace_older_ones_only() {
    let mut view = rings(2, &[1, 3]);
    assert!(!view.adopt(rings(1, &[1])));
    assert!(!view.adopt(rings(2, &[2])));
    assert_eq!(view, rings(2, &[1, 3]));
    assert!(view.adopt(rings(3, &[3])));
    assert_eq!(view, rings(3, &[3]));
}

#[test]
fn one_ring_needs_no_look_up() {
    let one = rings(1, &[3]);
    let trace = trace_with(&one, &[2]);
    let hop = |own| one.next_hop(trace, Visited::default(), own, || unreachable!());
    assert_eq!(hop(0).map(|hop| hop.to), Some(2));
    assert_eq!(hop(2), None);
}

#[test]
fn former_owners_are_asked_first() {
    let both = rings(2, &[1, 2]);
    let trace = trace_with(&both, &[0, 1]);
    let first = both.next_hop(trace, Visited::default(), 1, || false);
    let expected = Hop {
        to: 0,
        visited: Visited {
            generation: 2,
            members: 0b10,
        },
    };
    assert_eq!(first, Some(expected));
    assert_eq!(both.next_hop(trace, expected.visited, 0, || true), None);
    let second = both.next_hop(trace, expected.visited, 0, || false).unwrap();
    assert_eq!((second.to, second.visited.members), (1, 0b11));
    assert_eq!(both.next_hop(trace, second.visited, 1, || false), None);
}

#[test]
fn visits_with_former_rings_do_not_count() {
    let newer = rings(3, &[1, 2, 3]);
    let trace = trace_with(&newer, &[0, 1, 2]);
    let next_of = |generation| {
        let visited = Visited {
            generation,
            members: 0b11,
        };
        let hop = newer.next_hop(trace, visited, 2, || false);
        hop.map(|hop| (hop.to, hop.visited.members))
    };
    // Sampler 1 may have begun the trace with the rings of generation 2.
    assert_eq!(next_of(1), Some((0, 0b100)));
    assert_eq!(next_of(3), None);
}

#[derive(Clone, Debug)]
enum Step {
    /// A span of a trace arrives from a Collector.
    Arrive { at: u16, trace: u64 },
    /// The oldest span between two samplers is delivered, and again later if its response is lost.
    Deliver { queue: Index, is_lost: bool },
    /// A sampler receives one of the lists so far.
    Learn { at: u16, list: Index },
    /// There is another ring.
    Scale { members: u32 },
    /// The former rings end.
    EndFormer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..SAMPLERS, 0..TRACES).prop_map(|(at, trace)| Step::Arrive { at, trace }),
        10 => (any::<Index>(), prop::bool::weighted(0.1))
            .prop_map(|(queue, is_lost)| Step::Deliver { queue, is_lost }),
        4 => (0..SAMPLERS, any::<Index>()).prop_map(|(at, list)| Step::Learn { at, list }),
        2 => (1..=u32::from(SAMPLERS)).prop_map(|members| Step::Scale { members }),
        1 => Just(Step::EndFormer),
    ]
}

struct Sampler {
    view: Rings,
    /// The traces that wait here or were decided here.
    known: BTreeSet<u64>,
}

/// Samplers that hand spans to one another, each with its own view of the rings.
struct Samplers {
    samplers: Vec<Sampler>,
    /// All lists of rings so far.
    lists: Vec<Rings>,
    /// The traces of the spans on their way, by the ordinals of sender and receiver.
    queues: BTreeMap<(u16, u16), VecDeque<(u64, Visited)>>,
    /// The samplers that have begun each trace.
    deciders: BTreeMap<u64, Vec<u16>>,
    /// The traces that have arrived.
    arrived: BTreeSet<u64>,
    /// Earlier traces have no more spans.
    first_trace: u64,
}

impl Samplers {
    fn new(members: u32) -> Self {
        let first = rings(1, &[members]);
        let sampler = |_| Sampler {
            view: first.clone(),
            known: BTreeSet::new(),
        };
        Self {
            samplers: (0..SAMPLERS).map(sampler).collect(),
            lists: vec![first],
            queues: BTreeMap::new(),
            deciders: BTreeMap::new(),
            arrived: BTreeSet::new(),
            first_trace: 1,
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Arrive { at, trace } => {
                let trace = self.first_trace + trace;
                self.arrived.insert(trace);
                self.accept(at, trace, Visited::default());
            }
            Step::Deliver { queue, is_lost } => {
                let queues = self.waiting();
                if !queues.is_empty() {
                    self.deliver(*queue.get(&queues), is_lost);
                }
            }
            Step::Learn { at, list } => {
                let list = list.get(&self.lists).clone();
                self.samplers[usize::from(at)].view.adopt(list);
            }
            Step::Scale { members } => self.scale(members),
            Step::EndFormer => self.end_former(),
        }
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

    /// Gives all samplers the newest list, and delivers all spans.
    fn agree(&mut self) {
        let newest = self.newest().clone();
        for sampler in &mut self.samplers {
            sampler.view.adopt(newest.clone());
        }
        self.deliver_all();
    }

    fn deliver_all(&mut self) {
        let mut delivered = 0;
        while let Some(queue) = self.waiting().first() {
            self.deliver(*queue, false);
            delivered += 1;
            assert!(delivered < 100_000, "a span never arrives at an owner");
        }
    }

    fn waiting(&self) -> Vec<(u16, u16)> {
        let queues = self.queues.iter().filter(|(_, spans)| !spans.is_empty());
        queues.map(|(queue, _)| *queue).collect()
    }

    fn deliver(&mut self, (from, to): (u16, u16), is_lost: bool) {
        let spans = self.queues.get_mut(&(from, to)).unwrap();
        let (trace, visited) = *spans.front().unwrap();
        if !is_lost {
            spans.pop_front();
        }
        let view = self.samplers[usize::from(from)].view.clone();
        self.samplers[usize::from(to)].view.adopt(view);
        self.accept(to, trace, visited);
    }

    fn accept(&mut self, at: u16, trace: u64, visited: Visited) {
        let Sampler { view, known } = &mut self.samplers[usize::from(at)];
        let hop = view.next_hop(id(trace), visited, at, || known.contains(&trace));
        if let Some(Hop { to, visited }) = hop {
            let queue = self.queues.entry((at, to)).or_default();
            queue.push_back((trace, visited));
        } else if known.insert(trace) {
            self.deciders.entry(trace).or_default().push(at);
        }
    }

    /// Each trace was begun by one sampler.
    fn check(&self) -> Result<(), TestCaseError> {
        for trace in &self.arrived {
            let deciders = self.deciders.get(trace).map(Vec::as_slice);
            let count = deciders.map_or(0, <[u16]>::len);
            prop_assert_eq!(count, 1, "trace {}: {:?}", trace, deciders);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn one_sampler_decides_on_each_trace(
        first in 1..=u32::from(SAMPLERS),
        steps in vec(step(), 1..120),
    ) {
        let mut samplers = Samplers::new(first);
        for step in steps {
            samplers.apply(step);
        }
        // Spans also find their owner while the samplers have different views.
        samplers.deliver_all();
        samplers.check()?;
        samplers.agree();
        samplers.check()?;
    }

    /// The steps between two changes need not be enough for the samplers to agree.
    #[test]
    fn scaling_up_and_down_splits_no_trace(
        phases in vec(vec(step(), 0..40), 4),
    ) {
        let mut samplers = Samplers::new(1);
        for (members, steps) in [1, 3, 2, 1].into_iter().zip(phases) {
            samplers.scale(members);
            for step in steps {
                if !matches!(step, Step::Scale { .. } | Step::EndFormer) {
                    samplers.apply(step);
                }
            }
        }
        samplers.agree();
        samplers.check()?;
        samplers.end_former();
        for trace in 0..TRACES {
            samplers.apply(Step::Arrive { at: 2, trace });
        }
        samplers.agree();
        samplers.check()?;
        let mut after = samplers.deciders.range(samplers.first_trace..);
        prop_assert!(after.all(|(_, deciders)| deciders == &[0]));
    }
}
