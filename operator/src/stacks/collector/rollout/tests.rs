#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fake_tier;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use fake_tier::{FakePod, FakeTier};

use super::*;
use crate::stacks::collector::{TAIL_POLICIES, tests::objects};

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// A step of the simulation.
#[derive(Clone, Debug)]
enum Action {
    Rules(u8),
    Image(u8),
    Replicas(u8),
    ExporterHealth(ExporterHealth),
    Wait(i64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0u8..4).prop_map(Action::Rules),
        (0u8..2).prop_map(Action::Image),
        (1u8..4).prop_map(Action::Replicas),
        prop_oneof![
            Just(ExporterHealth::Working),
            Just(ExporterHealth::Failing),
            Just(ExporterHealth::Unknown)
        ]
        .prop_map(Action::ExporterHealth),
        (1i64..120).prop_map(Action::Wait),
    ]
}

/// The simulated cluster and its desired state.
struct World {
    now: i64,
    /// The rules, the image and the number of replicas.
    spec: (u8, u8, u8),
    desired: CollectorObjects,
    exporter: ExporterHealth,
    gather: Option<FakeTier>,
    decide: Option<FakeTier>,
}

impl World {
    fn edit(&mut self, change: impl Fn(&mut (u8, u8, u8))) {
        change(&mut self.spec);
        let (rules, image, replicas) = self.spec;
        self.desired = objects(rules, image, replicas);
    }

    fn plan(&self, desired: &CollectorObjects) -> RolloutPlan {
        let gather = self.gather.as_ref().map(FakeTier::objects);
        let decide = self.decide.as_ref().map(FakeTier::objects);
        plan(
            &RolloutState {
                gather: gather
                    .as_ref()
                    .map(|(workload, pods)| LiveTier { workload, pods }),
                decide: decide
                    .as_ref()
                    .map(|(workload, pods)| LiveTier { workload, pods }),
                exporter: self.exporter,
            },
            desired,
            at(self.now),
        )
    }

    /// Plans, applies, and lets a second pass.
    fn step(&mut self) -> Result<RolloutPlan, TestCaseError> {
        let desired = self.desired.clone();
        let plan = self.plan(&desired);
        let apply =
            |tier: &mut Option<FakeTier>, desired: &Deployment, now, seconds_to_end| match tier {
                None => *tier = Some(FakeTier::new(desired, now, seconds_to_end)),
                Some(tier) => tier.applied = desired.clone(),
            };
        let is_premature = self.decide.as_ref().is_some_and(|decide| {
            plan.can_change_decide
                && spec_hash(&decide.applied) != spec_hash(&desired.decide.workload)
                && pipeline_hash(&decide.applied) == pipeline_hash(&desired.decide.workload)
                && self.exporter == ExporterHealth::Failing
        });
        prop_assert!(!is_premature, "rules are changed while the exporter fails");
        if plan.can_change_gather {
            apply(&mut self.gather, &desired.gather.workload, self.now, 38);
        }
        if plan.can_change_decide {
            apply(&mut self.decide, &desired.decide.workload, self.now, 8);
        }
        prop_assert_eq!(
            plan.waiting.is_some(),
            !(plan.can_change_gather && plan.can_change_decide)
        );
        self.now += 1;
        for tier in [&mut self.gather, &mut self.decide].into_iter().flatten() {
            tier.tick(self.now);
        }
        Ok(plan)
    }

    fn is_done(&self) -> bool {
        let desired = self.desired.clone();
        let has = |tier: &Option<FakeTier>, desired: &Tier| {
            tier.as_ref().is_some_and(|tier| {
                spec_hash(&tier.applied) == spec_hash(&desired.workload) && !tier.is_changing()
            })
        };
        has(&self.gather, &desired.gather) && has(&self.decide, &desired.decide)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tiers_never_change_together_and_converge(actions in proptest::collection::vec(action(), 0..12)) {
        let mut world = World {
            now: 0,
            spec: (0, 0, 1),
            desired: objects(0, 0, 1),
            exporter: ExporterHealth::Working,
            gather: None,
            decide: None,
        };
        // The first rollout needs no order, since there are no traces to lose.
        for _ in 0..60 {
            world.step()?;
        }
        prop_assert!(world.is_done());
        for action in actions {
            match action {
                Action::Rules(rules) => world.edit(|spec| spec.0 = rules),
                Action::Image(image) => world.edit(|spec| spec.1 = image),
                Action::Replicas(replicas) => world.edit(|spec| spec.2 = replicas),
                Action::ExporterHealth(exporter) => world.exporter = exporter,
                Action::Wait(seconds) => for _ in 0..seconds {
                    world.step()?;
                    let changing = |tier: &Option<FakeTier>| tier.as_ref().unwrap().is_changing();
                    prop_assert!(!(changing(&world.gather) && changing(&world.decide)));
                },
            }
        }
        world.exporter = ExporterHealth::Working;
        for _ in 0..600 {
            if world.is_done() {
                return Ok(());
            }
            world.step()?;
        }
        prop_assert!(false, "never done: {:?} {:?}", world.gather, world.decide);
    }
}

/// A tier whose rollout was complete an hour ago.
fn settled(tier: &Tier) -> FakeTier {
    let mut fake = FakeTier::new(&tier.workload, -3600, 8);
    for second in -3599..-3500 {
        fake.tick(second);
    }
    fake
}

fn planned(
    gather: &FakeTier,
    decide: &FakeTier,
    exporter: ExporterHealth,
    desired: &CollectorObjects,
) -> RolloutPlan {
    let (gather, decide) = (gather.objects(), decide.objects());
    let current = RolloutState {
        gather: Some(LiveTier {
            workload: &gather.0,
            pods: &gather.1,
        }),
        decide: Some(LiveTier {
            workload: &decide.0,
            pods: &decide.1,
        }),
        exporter,
    };
    plan(&current, desired, at(0))
}

#[test]
fn new_rules_leave_gathering_pods_alone() {
    let (old, new) = (objects(1, 0, 2), objects(2, 0, 2));
    assert_eq!(old.gather, new.gather);
    assert_ne!(old.decide.workload, new.decide.workload);
    let plan = planned(
        &settled(&old.gather),
        &settled(&old.decide),
        ExporterHealth::Working,
        &new,
    );
    assert_eq!(
        plan,
        RolloutPlan {
            can_change_gather: true,
            can_change_decide: true,
            waiting: None,
            replan_in: None
        }
    );
}

#[test]
fn only_new_rules_wait_for_the_exporter() {
    let old = objects(1, 0, 1);
    let (gather, decide) = (settled(&old.gather), settled(&old.decide));
    let rules = planned(&gather, &decide, ExporterHealth::Failing, &objects(2, 0, 1));
    assert_eq!(
        (rules.can_change_decide, rules.waiting),
        (false, Some(RolloutWait::ExporterFails))
    );
    assert!(rules.replan_in.is_some());
    let image = planned(&gather, &decide, ExporterHealth::Failing, &objects(2, 1, 1));
    assert!(
        image.can_change_decide && !image.can_change_gather,
        "{image:?}"
    );
}

#[test]
fn new_rules_wait_for_gathering_pods_to_settle() {
    let old = objects(1, 0, 2);
    let mut gather = settled(&old.gather);
    gather.pods[0].ready = Some(-10);
    let plan = planned(
        &gather,
        &settled(&old.decide),
        ExporterHealth::Working,
        &objects(2, 0, 2),
    );
    assert_eq!(
        (plan.can_change_decide, plan.waiting),
        (false, Some(RolloutWait::GatherSettles))
    );
    assert_eq!(
        plan.replan_in,
        Some(old.settle_delay - Duration::from_secs(10))
    );
    gather.pods[0].ends = Some(20);
    let plan = planned(
        &gather,
        &settled(&old.decide),
        ExporterHealth::Working,
        &objects(2, 0, 2),
    );
    assert_eq!(plan.waiting, Some(RolloutWait::GatherChanges));
}

#[test]
fn failed_deciding_pod_is_replaced_at_once() {
    let old = objects(1, 0, 1);
    let mut decide = settled(&old.decide);
    decide.applied = objects(2, 0, 1).decide.workload;
    decide.tick(-5);
    let gather = settled(&old.gather);
    let plan_with = |is_failed: bool| {
        let (gather, mut decide) = (gather.objects(), decide.objects());
        let new = decide
            .1
            .iter_mut()
            .max_by_key(|pod| pod.metadata.creation_timestamp.clone());
        if is_failed {
            let status = json!([{"name": "collector", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": 1}}}]);
            new.unwrap().status.as_mut().unwrap().container_statuses =
                Some(serde_json::from_value(status).unwrap());
        }
        let current = RolloutState {
            gather: Some(LiveTier {
                workload: &gather.0,
                pods: &gather.1,
            }),
            decide: Some(LiveTier {
                workload: &decide.0,
                pods: &decide.1,
            }),
            exporter: ExporterHealth::Working,
        };
        plan(&current, &objects(3, 0, 1), at(0))
    };
    let starting = plan_with(false);
    assert_eq!(starting.waiting, Some(RolloutWait::DecideStarts));
    assert_eq!(starting.replan_in, Some(Duration::from_secs(55)));
    let failed = plan_with(true);
    assert!(failed.can_change_decide, "{failed:?}");
}

#[test]
fn reports_rules_once_the_old_ones_are_gone() {
    let old = objects(2, 0, 1);
    let mut decide = settled(&old.decide);
    let annotations = old
        .decide
        .workload
        .spec
        .unwrap()
        .template
        .metadata
        .unwrap()
        .annotations;
    let annotations: BTreeMap<String, String> = annotations.unwrap();
    let in_force = |decide: &FakeTier| {
        let (workload, pods) = decide.objects();
        let live = LiveTier {
            workload: &workload,
            pods: &pods,
        };
        live.tail_in_force()
            .map(|(digest, policies)| (digest.to_owned(), policies))
    };
    let expected = (
        annotations[TAIL_DIGEST].clone(),
        annotations[TAIL_POLICIES].parse().unwrap(),
    );
    assert_eq!(in_force(&decide), Some(expected));
    decide.pods.push(FakePod {
        revision: "old".to_owned(),
        created: 0,
        ready: Some(0),
        ends: Some(5),
    });
    assert_eq!(in_force(&decide), None);
}
