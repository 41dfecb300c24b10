//! A simulated tier, with the parts of the Deployment controller that a rollout depends on.

use k8s_openapi::{
    api::{
        apps::v1::DeploymentStatus,
        core::v1::{PodCondition, PodStatus},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use super::*;

/// A simulated pod. Times are in seconds.
#[derive(Clone, Debug)]
pub(super) struct FakePod {
    pub(super) revision: String,
    pub(super) created: i64,
    pub(super) ready: Option<i64>,
    pub(super) ends: Option<i64>,
}

/// A simulated Deployment and its controller.
#[derive(Clone, Debug)]
pub(super) struct FakeTier {
    pub(super) applied: Deployment,
    pub(super) pods: Vec<FakePod>,
    pub(super) seconds_to_start: i64,
    pub(super) seconds_to_end: i64,
}

impl FakeTier {
    pub(super) fn new(applied: &Deployment, now: i64, seconds_to_end: i64) -> Self {
        let mut tier = Self {
            applied: applied.clone(),
            pods: vec![],
            seconds_to_start: 3,
            seconds_to_end,
        };
        tier.tick(now);
        tier
    }

    pub(super) fn revision(&self) -> String {
        spec_hash(&self.applied).unwrap().clone()
    }

    pub(super) fn replicas(&self) -> usize {
        usize::try_from(self.applied.spec.as_ref().unwrap().replicas.unwrap()).unwrap()
    }

    /// Simulates one second of the controller: creates a new pod, marks pods ready, ends old ones.
    pub(super) fn tick(&mut self, now: i64) {
        self.pods.retain(|pod| pod.ends.is_none_or(|end| end > now));
        let (revision, replicas, start) = (self.revision(), self.replicas(), self.seconds_to_start);
        for pod in &mut self.pods {
            if pod.ready.is_none() && pod.ends.is_none() && now >= pod.created + start {
                pod.ready = Some(now);
            }
        }
        let is_new = |pod: &FakePod| pod.revision == revision && pod.ends.is_none();
        let new = self.pods.iter().filter(|pod| is_new(pod)).count();
        let staying = self.pods.iter().filter(|pod| pod.ends.is_none()).count();
        if new < replicas && staying <= replicas {
            self.pods.push(FakePod {
                revision: revision.clone(),
                created: now,
                ready: None,
                ends: None,
            });
        }
        let ready = self
            .pods
            .iter()
            .filter(|pod| pod.ends.is_none() && pod.ready.is_some());
        let mut spare = ready.count().saturating_sub(replicas);
        let end = now + self.seconds_to_end;
        // Old ones go first.
        self.pods.sort_by_key(is_new);
        for pod in &mut self.pods {
            if spare > 0 && pod.ends.is_none() && pod.ready.is_some() {
                pod.ends = Some(end);
                spare -= 1;
            }
        }
    }

    pub(super) fn objects(&self) -> (Deployment, Vec<Pod>) {
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

    pub(super) fn is_changing(&self) -> bool {
        let revision = self.revision();
        let current = |pod: &FakePod| pod.revision == revision && pod.ends.is_none();
        self.pods.len() != self.replicas() || !self.pods.iter().all(current)
    }
}

impl FakePod {
    pub(super) fn object(&self) -> Pod {
        let time = |seconds| Some(Time(at(seconds)));
        Pod {
            metadata: ObjectMeta {
                creation_timestamp: time(self.created),
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
                    last_transition_time: time(self.ready.unwrap_or(self.created)),
                    ..PodCondition::default()
                }]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        }
    }
}
