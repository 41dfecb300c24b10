//! What there is in the cluster: policies, pods and stacks, as the watches see them.

use std::sync::Arc;

use kube::{Client, core::DynamicObject, runtime::watcher::Config};

use super::{
    pods::{self, Pod},
    preprocess::{self, Found, Stack},
};
use crate::kubernetes::{
    resources::{self, api},
    watch::{Watched, Watches},
};

/// All that the role looks at.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) policies: Watched<Found>,
    pub(super) pods: Watched<Pod>,
    stacks: Watched<Stack>,
}

/// What was there at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) policies: Vec<Arc<Found>>,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) stacks: Vec<Arc<Stack>>,
}

impl Sources {
    /// Starts to watch, in one namespace or all.
    pub(super) fn follow(client: &Client, watches: &Watches, namespace: Option<&str>) -> Self {
        let policies = api(client, namespace, &resources::sampling_policies());
        let pods = api(client, namespace, &pods::resource());
        let stacks = api(client, namespace, &resources::tracing_stacks());
        let start = Config::default;
        Self {
            policies: watches.start("samplingpolicies", policies, start(), |object| {
                preprocess::policy(object)
            }),
            pods: watches.start("pods", pods, start(), pods::pod),
            stacks: watches.start::<DynamicObject, _>(
                "tracingstacks",
                stacks,
                start(),
                preprocess::stack,
            ),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            policies: self.policies.all(),
            pods: self.pods.all(),
            stacks: self.stacks.all(),
        }
    }
}
