//! Step 1: everything that a stack refers to, as the watches have it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, core::DynamicObject, runtime::watcher::Config};
use serde_json::Value;
use spoor_policy::Policy;

use super::{
    children::{Child, Children},
    preprocess,
};
use crate::kubernetes::{
    resources::{self, api},
    watch::{Key, Watched, Watches},
};

/// A stack as it is in the cluster, its text unread.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its place.
    pub key: Key,
    /// Tells it from others of its name over time.
    pub uid: String,
    /// Counts the changes of its `spec`.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub is_ending: bool,
    /// What is asked for.
    pub spec: Value,
    /// What was last said of it.
    pub status: Value,
}

/// What a stack refers to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The objects of its name.
    pub children: Vec<Arc<Child>>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The sampling policies of its namespace.
    pub policies: Vec<Policy>,
}

/// What is followed in the cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    stacks: Watched<Seen>,
    policies: Watched<Policy>,
    children: Children,
}

impl Cluster {
    /// Follows one namespace, or all.
    #[must_use]
    pub fn watch(watches: &Watches, client: &Client, namespace: Option<&str>) -> Self {
        let stacks = api(client, namespace, &resources::tracing_stacks());
        let policies = api(client, namespace, &resources::sampling_policies());
        Self {
            stacks: watches.start("tracingstacks", stacks, Config::default(), seen),
            policies: watches.start(
                "samplingpolicies",
                policies,
                Config::default(),
                preprocess::policy,
            ),
            children: Children::watch(watches, client, namespace),
        }
    }

    /// All stacks.
    #[must_use]
    pub fn stacks(&self) -> Vec<Arc<Seen>> {
        self.stacks.all()
    }

    /// What a stack refers to.
    #[must_use]
    pub fn dereference(&self, stack: &Key) -> Found {
        let policies = self.policies.within(&stack.namespace);
        Found {
            children: self.children.of_stack(stack),
            pods: self.children.pods_of_stack(stack),
            policies: policies.iter().map(|policy| (**policy).clone()).collect(),
        }
    }
}

fn seen(object: DynamicObject) -> Option<Seen> {
    let key = Key::of(&object);
    let DynamicObject {
        metadata, mut data, ..
    } = object;
    Some(Seen {
        key,
        uid: metadata.uid.unwrap_or_default(),
        generation: metadata.generation,
        is_ending: metadata.deletion_timestamp.is_some(),
        spec: data.get_mut("spec").map(Value::take).unwrap_or_default(),
        status: data.get_mut("status").map(Value::take).unwrap_or_default(),
    })
}
