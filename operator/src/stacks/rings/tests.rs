#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const GENERATION: u64 = 7;

fn rings(members: &[u32]) -> SamplerRings {
    SamplerRings {
        generation: GENERATION,
        members: members.to_vec(),
    }
}

/// A sampler that has the present rings and nothing else.
fn idle() -> SamplerReading {
    SamplerReading {
        rings_generation: GENERATION,
        rules: Some("0".to_owned()),
        settled_generation: GENERATION,
        ..SamplerReading::default()
    }
}

/// A sampler that has the present rings, and knows traces from before them.
fn busy() -> SamplerReading {
    SamplerReading {
        settled_generation: GENERATION - 1,
        undelivered: 3,
        ..idle()
    }
}

struct Case {
    wanted: u16,
    rings: Option<SamplerRings>,
    replicas: u16,
    readings: Vec<Option<SamplerReading>>,
    forgotten: BTreeSet<u16>,
}

impl Case {
    /// A stack in whose spec the number of samplers has changed to `wanted`.
    fn new(wanted: u16, members: &[u32], readings: Vec<Option<SamplerReading>>) -> Self {
        Self {
            wanted,
            rings: Some(rings(members)),
            replicas: u16::try_from(readings.len()).unwrap(),
            readings,
            forgotten: BTreeSet::new(),
        }
    }

    fn plan(&self) -> ScalingPlan {
        let state = ScalingState {
            wanted: self.wanted,
            rings: self.rings.as_ref(),
            replicas: self.replicas,
            readings: &self.readings,
            forgotten: &self.forgotten,
        };
        plan(&state, Timestamp::UNIX_EPOCH)
    }

    /// The numbers of members of the rings, and the number of samplers, of the next step.
    fn step(&self) -> (Vec<u32>, u16) {
        let plan = self.plan();
        (plan.rings.members, plan.replicas)
    }
}

#[test]
fn new_stack_begins_with_one_member() {
    let case = Case {
        rings: None,
        ..Case::new(3, &[], vec![])
    };
    assert_eq!(case.step(), (vec![1], 3));
}

#[test]
fn lost_status_allows_for_all_rings() {
    let case = Case {
        rings: None,
        ..Case::new(1, &[], vec![None, None, None])
    };
    assert_eq!(case.step(), (vec![1, 2, 3], 3));
    let unusable = Case::new(1, &[3, 0], vec![None, None]);
    assert_eq!(unusable.step(), (vec![1, 2], 2));
}

#[test]
fn restored_status_allows_for_all_rings() {
    let newer = SamplerReading {
        rings_generation: GENERATION + 5,
        ..idle()
    };
    let mut case = Case::new(3, &[1], vec![Some(newer), None]);
    let plan = case.plan();
    assert_eq!((plan.rings.members, plan.replicas), (vec![1, 2], 3));
    assert_eq!(plan.rings.generation, GENERATION + 6);
    assert!(!plan.is_complete);
    // Samplers that are behind are the usual case.
    case.readings[0] = Some(idle());
    assert_eq!(case.step(), (vec![1], 3));
}

#[test]
fn later_rings_have_greater_generations() {
    let wanted = Case::new(1, &[3], vec![None, None, None]);
    assert_eq!(wanted.plan().rings.generation, GENERATION + 1);
    let now = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
    let later = successor(GENERATION, vec![2], now);
    assert_eq!(later.generation, 1_800_000_000_000);
    let first = successor(0, vec![1], now);
    assert_eq!(first.generation, 1_800_000_000_000);
}

#[test]
fn nothing_changes_without_need() {
    let plan = Case::new(2, &[2], vec![None, None]).plan();
    assert_eq!((plan.rings, plan.replicas), (rings(&[2]), 2));
    assert!(plan.is_complete);
}

#[test]
fn larger_ring_waits_for_its_samplers() {
    let mut case = Case::new(3, &[1], vec![Some(busy())]);
    assert_eq!(case.step(), (vec![1], 3));
    assert!(!case.plan().is_complete);
    case.readings.extend([Some(busy()), None]);
    case.replicas = 3;
    assert_eq!(case.step(), (vec![1], 3), "one does not report");
    case.readings[2] = Some(SamplerReading::default());
    assert_eq!(case.step(), (vec![1], 3), "one does not know the rings yet");
    case.readings[2] = Some(SamplerReading {
        rules: None,
        ..idle()
    });
    assert_eq!(case.step(), (vec![1], 3), "one has no rules yet");
    case.readings[2] = Some(idle());
    assert_eq!(case.step(), (vec![1, 3], 3));
}

#[test]
fn smaller_ring_is_added_at_once() {
    let case = Case::new(1, &[3], vec![None, None, None]);
    assert_eq!(case.step(), (vec![3, 1], 3));
    let again = Case::new(2, &[1, 3], vec![None, None, None]);
    assert_eq!(again.step(), (vec![1, 3, 2], 3));
}

#[test]
fn ring_is_in_the_list_once() {
    let case = Case::new(3, &[3, 1], vec![Some(busy()), Some(busy()), Some(busy())]);
    assert_eq!(case.step(), (vec![1, 3], 3));
}

#[test]
fn former_rings_end_once_all_samplers_have_settled() {
    let mut case = Case::new(1, &[3, 1], vec![Some(idle()), Some(idle()), Some(busy())]);
    assert_eq!(case.step(), (vec![3, 1], 3));
    case.readings[2] = None;
    assert_eq!(case.step(), (vec![3, 1], 3), "its pod may come back");
    case.readings[2] = Some(idle());
    assert_eq!(case.step(), (vec![1], 3), "the samplers end later");
}

/// One that was deleted by hand may come back with a volume.
#[test]
fn members_are_waited_for_whether_they_run_or_not() {
    let mut case = Case::new(1, &[3, 1], vec![Some(idle())]);
    assert_eq!(case.step(), (vec![3, 1], 3));
    case.replicas = 0;
    assert_eq!(case.step(), (vec![3, 1], 3));
}

fn with_spans_for(peer: u16) -> SamplerReading {
    SamplerReading {
        forward_pending: BTreeMap::from([(peer, 1)]),
        ..idle()
    }
}

#[rstest]
#[case::no_report(1, None)]
#[case::traces(1, Some(busy()))]
#[case::spans_for_another_that_ends(0, Some(with_spans_for(2)))]
#[case::former_rings(0, Some(SamplerReading { rings_generation: 6, ..idle() }))]
fn samplers_stay_until_they_are_empty(#[case] of: usize, #[case] reading: Option<SamplerReading>) {
    let mut case = Case::new(1, &[1], vec![Some(idle()), Some(idle()), Some(idle())]);
    assert_eq!(case.step(), (vec![1], 1));
    case.readings[of] = reading;
    assert_eq!(case.step(), (vec![1], 3));
    assert!(!case.plan().is_complete);
}

#[test]
fn members_that_stay_may_hold_spans() {
    let staying = |peer| SamplerReading {
        undelivered: 5,
        ..with_spans_for(peer)
    };
    let readings = vec![Some(staying(1)), Some(staying(0)), Some(idle())];
    let case = Case::new(2, &[2], readings);
    assert_eq!(case.step(), (vec![2], 2));
}

#[test]
fn forgotten_sampler_is_not_waited_for() {
    let mut case = Case::new(2, &[3, 2], vec![Some(busy()), Some(busy()), None]);
    assert_eq!(case.step(), (vec![3, 2], 3));
    case.forgotten.insert(2);
    assert_eq!(case.step(), (vec![2], 3));
    case.rings = Some(rings(&[2]));
    case.readings[0] = Some(with_spans_for(2));
    assert_eq!(case.step(), (vec![2], 2));
}

#[test]
fn member_cannot_be_forgotten() {
    let mut case = Case::new(1, &[3, 1], vec![None, Some(idle()), Some(idle())]);
    case.forgotten.insert(0);
    assert_eq!(case.step(), (vec![3, 1], 3));
    let mut case = Case::new(2, &[1], vec![Some(idle()), None]);
    case.forgotten.insert(1);
    assert_eq!(case.step(), (vec![1], 2));
}

/// A step of a random history.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The number of samplers in the spec changes.
    Want(u16),
    /// A sampler adopts the rings in the status.
    Adopt(u16),
    /// A sampler forgets the traces from before its rings.
    Settle(u16),
    /// A sampler sends what it holds.
    Empty(u16),
    /// A sampler stops reporting, or reports again.
    Toggle(u16),
    /// The operator plans, and applies the plan.
    Plan,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u16..5).prop_map(Step::Want),
        (0_u16..5).prop_map(Step::Adopt),
        (0_u16..5).prop_map(Step::Settle),
        (0_u16..5).prop_map(Step::Empty),
        (0_u16..5).prop_map(Step::Toggle),
        Just(Step::Plan),
        Just(Step::Plan),
    ]
}

/// A stack and its samplers, none of which has lost its volume.
struct World {
    case: Case,
    samplers: Vec<SamplerReading>,
    is_silent: Vec<bool>,
}

impl World {
    fn new() -> Self {
        let mut case = Case::new(1, &[1], vec![]);
        case.replicas = 1;
        Self {
            case,
            samplers: vec![busy(); 5],
            is_silent: vec![false; 5],
        }
    }

    fn apply(&mut self, step: Step) {
        let generation = self.case.rings.as_ref().unwrap().generation;
        match step {
            Step::Want(wanted) => self.case.wanted = wanted,
            Step::Adopt(ordinal) => {
                let sampler = &mut self.samplers[usize::from(ordinal)];
                sampler.rings_generation = generation;
                sampler.undelivered = 1;
            }
            Step::Settle(ordinal) => {
                let sampler = &mut self.samplers[usize::from(ordinal)];
                sampler.settled_generation = sampler.rings_generation;
            }
            Step::Empty(ordinal) => self.samplers[usize::from(ordinal)].undelivered = 0,
            Step::Toggle(ordinal) => self.is_silent[usize::from(ordinal)] ^= true,
            Step::Plan => self.plan(),
        }
    }

    fn plan(&mut self) {
        let running = usize::from(self.case.replicas);
        let reports = self.samplers.iter().zip(&self.is_silent).take(running);
        let readings = reports.map(|(sampler, is_silent)| (!is_silent).then(|| sampler.clone()));
        self.case.readings = readings.collect();
        let (former, plan) = (self.case.rings.clone().unwrap(), self.case.plan());
        if plan.rings == former {
            let is_empty = |it: &SamplerReading| {
                it.undelivered == 0 && it.rings_generation == former.generation
            };
            let ended = usize::from(plan.replicas).min(running)..running;
            assert!(self.samplers[ended].iter().all(is_empty));
        } else {
            assert!(plan.rings.generation > former.generation);
            let has_ended = |it: &u32| !plan.rings.members.contains(it);
            if former.members.iter().any(has_ended) {
                let has_settled = |it: &SamplerReading| it.settled_generation >= former.generation;
                assert!(self.samplers[..running].iter().all(has_settled));
                assert_eq!(plan.rings.members.last(), former.members.last());
            }
            assert!(usize::from(plan.replicas) >= running);
        }
        let largest = plan.rings.members.iter().max().unwrap();
        assert!(u32::from(plan.replicas) >= *largest);
        self.case.rings = Some(plan.rings);
        self.case.replicas = plan.replicas;
    }
}

proptest! {
    #[test]
    fn every_history_keeps_the_invariants(
        steps in prop::collection::vec(step(), 0..200),
        wanted in 1_u16..5,
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
        }
        // Once all samplers report and nothing is left for them to do, the number is reached.
        world.apply(Step::Want(wanted));
        world.is_silent = vec![false; 5];
        for _ in 0..4 {
            for ordinal in 0..5 {
                world.apply(Step::Adopt(ordinal));
                world.apply(Step::Settle(ordinal));
                world.apply(Step::Empty(ordinal));
            }
            world.apply(Step::Plan);
        }
        let plan = world.case.plan();
        prop_assert!(plan.is_complete, "{plan:?}");
        prop_assert_eq!(plan.rings.members, vec![u32::from(wanted)]);
        prop_assert_eq!(plan.replicas, wanted);
    }
}
