//! Step 1: everything that a stack refers to, as the watches have it.

use std::{collections::BTreeSet, sync::Arc};

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
    watch::{Key, Scope, Watched, Watches},
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
    /// True while it is being deleted.
    pub is_ending: bool,
    /// Its spec.
    pub spec: Value,
    /// Its last status.
    pub status: Value,
}

/// The objects that a stack refers to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The objects of its name.
    pub children: Vec<Arc<Child>>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// The sampling policies of its namespace.
    pub policies: Vec<Policy>,
}

/// The watched objects of the cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    stacks: Watched<Seen>,
    policies: Watched<Policy>,
    children: Children,
}

impl Cluster {
    /// Follows the namespaces of a scope.
    #[must_use]
    pub fn watch(watches: &Watches, client: &Client, scope: &Scope) -> Self {
        let stacks = |it: Option<&str>| api(client, it, &resources::tracing_stacks());
        let policies = |it: Option<&str>| api(client, it, &resources::sampling_policies());
        let config = Config::default;
        Self {
            stacks: watches.start("tracingstacks", scope, stacks, config(), seen),
            policies: watches.start(
                "samplingpolicies",
                scope,
                policies,
                config(),
                preprocess::policy,
            ),
            children: Children::watch(watches, client, scope),
        }
    }

    /// All stacks.
    #[must_use]
    pub fn stacks(&self) -> Vec<Arc<Seen>> {
        self.stacks.all()
    }

    /// The namespaces to claim.
    #[must_use]
    pub fn namespaces(&self, scope: &Scope) -> BTreeSet<String> {
        scope.or_used(|| self.stacks.namespaces())
    }

    /// The objects that a stack refers to.
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
