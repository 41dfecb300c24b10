#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::DeploymentStatus, core::v1::PodStatus},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::stacks::collector::{TAIL_POLICIES, tests::objects};

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// A pod in the cluster of the tests.
#[derive(Clone, Debug)]
struct FakePod {
    revision: String,
    came: i64,
    ready: Option<i64>,
    ends: Option<i64>,
}

/// A Deployment in the cluster of the tests, with as much of its controller as matters.
#[derive(Clone, Debug)]
struct FakeTier {
    applied: Deployment,
    pods: Vec<FakePod>,
    takes_to_start: i64,
    takes_to_end: i64,
}

impl FakeTier {
    fn new(applied: &Deployment, now: i64, takes_to_end: i64) -> Self {
        let mut tier = Self {
            applied: applied.clone(),
            pods: vec![],
            takes_to_start: 3,
            takes_to_end,
        };
        tier.tick(now);
        tier
    }

    fn revision(&self) -> String {
        spec_hash(&self.applied).unwrap().clone()
    }

    fn replicas(&self) -> usize {
        usize::try_from(self.applied.spec.as_ref().unwrap().replicas.unwrap()).unwrap()
    }

    /// A second of the controller's work: new pods come, become ready, take an old one's place.
    fn tick(&mut self, now: i64) {
        self.pods.retain(|pod| pod.ends.is_none_or(|end| end > now));
        let (revision, replicas, start) = (self.revision(), self.replicas(), self.takes_to_start);
        for pod in &mut self.pods {
            if pod.ready.is_none() && pod.ends.is_none() && now >= pod.came + start {
                pod.ready = Some(now);
            }
        }
        let is_new = |pod: &FakePod| pod.revision == revision && pod.ends.is_none();
        let new = self.pods.iter().filter(|pod| is_new(pod)).count();
        let there = self.pods.iter().filter(|pod| pod.ends.is_none()).count();
        if new < replicas && there <= replicas {
            self.pods.push(FakePod {
                revision: revision.clone(),
                came: now,
                ready: None,
                ends: None,
            });
        }
        let ready = self
            .pods
            .iter()
            .filter(|pod| pod.ends.is_none() && pod.ready.is_some());
        let mut spare = ready.count().saturating_sub(replicas);
        let end = now + self.takes_to_end;
        // Old ones go first.
        self.pods.sort_by_key(is_new);
        for pod in &mut self.pods {
            if spare > 0 && pod.ends.is_none() && pod.ready.is_some() {
                pod.ends = Some(end);
                spare -= 1;
            }
        }
    }

    fn objects(&self) -> (Deployment, Vec<Pod>) {
        let mut workload = self.applied.clone();
        workload.metadata.generation = Some(1);
        let count = |which: &dyn Fn(&&FakePod) -> bool| {
            i32::try_from(self.pods.iter().filter(which).count()).unwrap()
        };
        let revision = self.revision();
        workload.status = Some(DeploymentStatus {
            observed_generation: Some(1),
            replicas: Some(count(&|pod| pod.ends.is_none())),
            updated_replicas: Some(count(&|pod| pod.ends.is_none() && pod.revision == revision)),
            ..DeploymentStatus::default()
        });
        (workload, self.pods.iter().map(FakePod::object).collect())
    }

    fn is_changing(&self) -> bool {
        let revision = self.revision();
        let current = |pod: &FakePod| pod.revision == revision && pod.ends.is_none();
        self.pods.len() != self.replicas() || !self.pods.iter().all(current)
    }
}

impl FakePod {
    fn object(&self) -> Pod {
        let time = |seconds| Some(Time(at(seconds)));
        Pod {
            metadata: ObjectMeta {
                creation_timestamp: time(self.came),
                deletion_timestamp: self.ends.and_then(time),
                ..ObjectMeta::default()
            },
            status: Some(PodStatus {
                conditions: Some(vec![PodCondition {
                    type_: "Ready".to_owned(),
                    status: if self.ready.is_some() {
                        "True"
                    } else {
                        "False"
                    }
                    .to_owned(),
                    last_transition_time: time(self.ready.unwrap_or(self.came)),
                    ..PodCondition::default()
                }]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        }
    }
}

/// An action of a user on a stack.
#[derive(Clone, Debug)]
enum Act {
    Rules(u8),
    Image(u8),
    Replicas(u8),
    ExporterHealth(ExporterHealth),
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u8..4).prop_map(Act::Rules),
        (0u8..2).prop_map(Act::Image),
        (1u8..4).prop_map(Act::Replicas),
        prop_oneof![
            Just(ExporterHealth::Working),
            Just(ExporterHealth::Failing),
            Just(ExporterHealth::Unknown)
        ]
        .prop_map(Act::ExporterHealth),
        (1i64..120).prop_map(Act::Wait),
    ]
}

/// The cluster, and what is wanted of it.
struct World {
    now: i64,
    wish: (u8, u8, u8),
    wanted: CollectorObjects,
    exporter: ExporterHealth,
    gather: Option<FakeTier>,
    decide: Option<FakeTier>,
}

impl World {
    fn wish(&mut self, change: impl Fn(&mut (u8, u8, u8))) {
        change(&mut self.wish);
        let (rules, image, replicas) = self.wish;
        self.wanted = objects(rules, image, replicas);
    }

    fn plan(&self, wanted: &CollectorObjects) -> RolloutPlan {
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
            wanted,
            at(self.now),
        )
    }

    /// Plans, applies, and lets a second pass.
    fn step(&mut self) -> Result<RolloutPlan, TestCaseError> {
        let wanted = self.wanted.clone();
        let plan = self.plan(&wanted);
        let apply = |tier: &mut Option<FakeTier>, wanted: &Deployment, now, takes_to_end| match tier
        {
            None => *tier = Some(FakeTier::new(wanted, now, takes_to_end)),
            Some(tier) => tier.applied = wanted.clone(),
        };
        let held = self.decide.as_ref().is_some_and(|decide| {
            plan.decide
                && spec_hash(&decide.applied) != spec_hash(&wanted.decide.workload)
                && pipeline_hash(&decide.applied) == pipeline_hash(&wanted.decide.workload)
                && self.exporter == ExporterHealth::Failing
        });
        prop_assert!(!held, "rules are changed while the exporter fails");
        if plan.gather {
            apply(&mut self.gather, &wanted.gather.workload, self.now, 38);
        }
        if plan.decide {
            apply(&mut self.decide, &wanted.decide.workload, self.now, 8);
        }
        prop_assert_eq!(plan.waiting.is_some(), !(plan.gather && plan.decide));
        self.now += 1;
        for tier in [&mut self.gather, &mut self.decide].into_iter().flatten() {
            tier.tick(self.now);
        }
        Ok(plan)
    }

    fn is_done(&self) -> bool {
        let wanted = self.wanted.clone();
        let has = |tier: &Option<FakeTier>, wanted: &Tier| {
            tier.as_ref().is_some_and(|tier| {
                spec_hash(&tier.applied) == spec_hash(&wanted.workload) && !tier.is_changing()
            })
        };
        has(&self.gather, &wanted.gather) && has(&self.decide, &wanted.decide)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tiers_never_change_at_once_and_converge(acts in proptest::collection::vec(act(), 0..12)) {
        let mut world = World {
            now: 0,
            wish: (0, 0, 1),
            wanted: objects(0, 0, 1),
            exporter: ExporterHealth::Working,
            gather: None,
            decide: None,
        };
        // The first time there is nothing to lose.
        for _ in 0..60 {
            world.step()?;
        }
        prop_assert!(world.is_done());
        for act in acts {
            match act {
                Act::Rules(rules) => world.wish(|wish| wish.0 = rules),
                Act::Image(image) => world.wish(|wish| wish.1 = image),
                Act::Replicas(replicas) => world.wish(|wish| wish.2 = replicas),
                Act::ExporterHealth(exporter) => world.exporter = exporter,
                Act::Wait(seconds) => for _ in 0..seconds {
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

/// A tier whose rollout is complete for an hour.
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
    wanted: &CollectorObjects,
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
    plan(&current, wanted, at(0))
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
            gather: true,
            decide: true,
            waiting: None,
            again_in: None
        }
    );
}

#[test]
fn only_new_rules_wait_for_the_exporter() {
    let old = objects(1, 0, 1);
    let (gather, decide) = (settled(&old.gather), settled(&old.decide));
    let rules = planned(&gather, &decide, ExporterHealth::Failing, &objects(2, 0, 1));
    assert_eq!(
        (rules.decide, rules.waiting),
        (false, Some(RolloutWait::ExporterFails))
    );
    assert!(rules.again_in.is_some());
    let image = planned(&gather, &decide, ExporterHealth::Failing, &objects(2, 1, 1));
    assert!(image.decide && !image.gather, "{image:?}");
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
        (plan.decide, plan.waiting),
        (false, Some(RolloutWait::GatherSettles))
    );
    assert_eq!(plan.again_in, Some(old.settle - Duration::from_secs(10)));
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
fn failed_deciding_pod_is_followed_at_once() {
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
    assert_eq!(starting.again_in, Some(Duration::from_secs(55)));
    let failed = plan_with(true);
    assert!(failed.decide, "{failed:?}");
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
        came: 0,
        ready: Some(0),
        ends: Some(5),
    });
    assert_eq!(in_force(&decide), None);
}
