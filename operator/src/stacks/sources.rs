//! The watched objects of the cluster: stacks, and all that a stack's reconciliation depends on.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{core::DynamicObject, runtime::watcher::Config};
use spoor_policy::Policy;

use super::{
    children::{Children, StackChild},
    parse::{self, StackObject},
};
use crate::kubernetes::{
    resources,
    watch::{Key, ObjectStore, WatchScope, Watches},
};

/// The objects that the reconciliation of one stack depends on, besides the stack itself.
#[derive(Clone, Debug)]
pub struct RelatedObjects {
    /// The objects that belong to the stack, or belonged to an earlier one of its name.
    pub children: Vec<Arc<StackChild>>,
    /// The pods of the stack.
    pub pods: Vec<Pod>,
    /// The sampling policies of the stack's namespace that have tail rules.
    pub policies: Vec<Policy>,
}

/// The stores of all watched objects.
#[derive(Clone, Debug)]
pub struct StackSources {
    /// All stacks.
    pub stacks: ObjectStore<StackObject>,
    policies: ObjectStore<Policy>,
    children: Children,
}

impl StackSources {
    /// Starts the watches.
    #[must_use]
    pub fn watch(watches: &Watches) -> Self {
        let (stacks, policies) = (resources::tracing_stacks(), resources::sampling_policies());
        let config = Config::default;
        Self {
            stacks: watches.start::<DynamicObject, _>(&stacks, config(), parse::stack_object),
            // Watched by both roles, so that tail rules reach the Collector while `policies` is down.
            policies: watches.start::<DynamicObject, _>(&policies, config(), parse::tail_policy),
            children: Children::watch(watches),
        }
    }

    /// The namespaces to claim.
    #[must_use]
    pub fn namespaces(&self, scope: &WatchScope) -> BTreeSet<String> {
        scope.namespaces_or(|| self.stacks.namespaces())
    }

    /// The objects that the reconciliation of a stack depends on.
    #[must_use]
    pub fn related_objects(&self, stack: &Key) -> RelatedObjects {
        let policies = self.policies.in_namespace(&stack.namespace);
        RelatedObjects {
            children: self.children.of_stack(stack),
            pods: self.children.pods_of_stack(stack),
            policies: policies.iter().map(|policy| (**policy).clone()).collect(),
        }
    }
}
