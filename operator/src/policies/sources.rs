//! The watched objects of the cluster: policies, pods and stacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{core::DynamicObject, runtime::watcher::Config};
use spoor_policy::Namespace;
use spoor_proto::spoor::sampler::v1::Rings;

use super::{
    identity_mismatches::IdentityMismatches,
    objects::{self, PolicyObject, StackState},
    pods::{self, Pod, RawPod},
};
use crate::{
    kubernetes::{
        resources,
        watch::{ObjectStore, WatchScope, Watches},
    },
    lease::NamespaceClaims,
};

/// The stores of all watched objects.
#[derive(Clone)]
pub(super) struct PolicySources {
    pub(super) policies: ObjectStore<PolicyObject>,
    pub(super) pods: ObjectStore<Pod>,
    pub(super) stacks: ObjectStore<StackState>,
    /// The pods that were refused because they claim to be a service other than the one that their
    /// labels name.
    pub(super) mismatches: Arc<IdentityMismatches>,
}

/// The objects at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct SourcesSnapshot {
    pub(super) policies: Vec<Arc<PolicyObject>>,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) stacks: Vec<Arc<StackState>>,
}

impl PolicySources {
    /// Starts the watches.
    pub(super) fn watch(watches: &Watches) -> Self {
        let (policies, stacks) = (resources::sampling_policies(), resources::tracing_stacks());
        let config = Config::default;
        Self {
            policies: watches.start::<DynamicObject, _>(&policies, config(), objects::parse_policy),
            pods: watches.start::<RawPod, _>(&pods::resource(), config(), pods::parse),
            stacks: watches.start::<DynamicObject, _>(&stacks, config(), objects::parse_stack),
            mismatches: Arc::default(),
        }
    }

    /// The namespaces to claim.
    pub(super) fn namespaces(&self, scope: &WatchScope) -> BTreeSet<String> {
        scope.namespaces_or(|| &self.policies.namespaces() | &self.stacks.namespaces())
    }

    /// The objects in the namespaces that this installation serves. Pods of a namespace that no
    /// installation serves are callers, too, but without policies.
    pub(super) fn snapshot(&self, claims: &NamespaceClaims) -> SourcesSnapshot {
        let mut policies = self.policies.all();
        let mut pods = self.pods.all();
        let mut stacks = self.stacks.all();
        // `holds` and not `is_certain`: while the API server is unavailable, the last claim still
        // counts for what is served. Only writes need certainty.
        policies.retain(|object| claims.holds(&object.key.namespace));
        stacks.retain(|stack| claims.holds(stack.namespace.as_str()));
        pods.retain(|pod| claims.refused_by(pod.namespace.as_str()).is_none());
        SourcesSnapshot {
            policies,
            pods,
            stacks,
        }
    }
}

impl SourcesSnapshot {
    /// The rings of each stack that has any, by namespace and name.
    ///
    /// A replica of the operator that cannot reach the API server does not see newer rings. The old
    /// ones do not make a sampler that starts meanwhile split traces: its stream needs a token that
    /// was reviewed within the last minute, while the role `stacks` does not remove a former ring
    /// until at least ten minutes after all samplers have received the list that includes it.
    pub(super) fn rings(&self) -> BTreeMap<(Namespace, String), Rings> {
        let stacks = self.stacks.iter();
        let rings = stacks.filter_map(|stack| {
            let rings = stack.rings.clone()?;
            Some(((stack.namespace.clone(), stack.name.clone()), rings))
        });
        rings.collect()
    }
}
