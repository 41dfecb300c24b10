//! The objects that the operator has created, as they are in the cluster.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, core::ApiResource, runtime::watcher::Config};
use serde::{Serialize, de::DeserializeOwned};
use spoor_api::TracingStack;

use super::objects::{
    FIELD_MANAGER,
    labels::{Component, INSTANCE, MANAGED_BY, NAME, OPERATOR},
};
use crate::kubernetes::{
    apply::LiveObject,
    watch::{Key, ObjectStore, Watches},
};

/// An object that the operator has created.
#[derive(Clone, Debug, PartialEq)]
pub struct StackChild {
    /// The Kubernetes resource that it is an object of.
    pub resource: ApiResource,
    /// The namespace and name.
    pub key: Key,
    /// The state that applying depends on.
    pub live: LiveObject,
    /// The stack in its label.
    pub instance: Option<String>,
    /// The component in its label.
    pub component: Option<String>,
    /// The stack that owns it.
    pub owner: Option<OwnerReference>,
    /// The field manager that changed it last, if that was not the operator.
    pub changed_by: Option<String>,
    /// Details that only some kinds have.
    pub detail: Detail,
}

/// Details that only some kinds have.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// The Deployment, without its managed fields and resource version.
    Deployment(Box<Deployment>),
    /// The StatefulSet, without its managed fields and resource version.
    StatefulSet(Box<StatefulSet>),
    /// The annotations of a Service.
    Service(BTreeMap<String, String>),
    /// No details.
    None,
}

/// The stores of all objects that the operator has created, and of their pods.
#[derive(Clone, Debug)]
pub struct Children {
    kinds: Vec<ObjectStore<StackChild>>,
    pods: ObjectStore<Pod>,
}

impl Children {
    /// Starts the watches.
    #[must_use]
    pub fn watch(watches: &Watches) -> Self {
        Self {
            kinds: vec![
                watch_kind::<ConfigMap>(watches, |_| Detail::None),
                watch_kind::<PersistentVolumeClaim>(watches, |_| Detail::None),
                watch_kind::<Service>(watches, |service| {
                    Detail::Service(service.metadata.annotations.unwrap_or_default())
                }),
                watch_kind::<NetworkPolicy>(watches, |_| Detail::None),
                watch_kind::<PodDisruptionBudget>(watches, |_| Detail::None),
                watch_kind::<StatefulSet>(watches, |set| {
                    Detail::StatefulSet(Box::new(trimmed(set)))
                }),
                watch_kind::<Deployment>(watches, |deployment| {
                    Detail::Deployment(Box::new(trimmed(deployment)))
                }),
            ],
            pods: watches.start::<Pod, _>(&(), selected(), |pod| Some(trimmed(pod))),
        }
    }

    /// The objects that belong to a stack of this name, or belonged to an earlier one.
    #[must_use]
    pub fn of_stack(&self, stack: &Key) -> Vec<Arc<StackChild>> {
        let kinds = self.kinds.iter();
        let within = kinds.flat_map(|kind| kind.in_namespace(&stack.namespace));
        let mine = within.filter(|child| match &child.owner {
            // The owner reference comes first, since the label may have been edited.
            Some(owner) => owner.name == stack.name,
            None => child.instance.as_ref() == Some(&stack.name),
        });
        mine.collect()
    }

    /// The pods of a stack, including terminating ones.
    #[must_use]
    pub fn pods_of_stack(&self, stack: &Key) -> Vec<Pod> {
        let pods = self.pods.in_namespace(&stack.namespace).into_iter();
        let mine = pods.filter(|pod| label(&pod.metadata, INSTANCE) == Some(&stack.name));
        mine.map(|pod| (*pod).clone()).collect()
    }
}

/// Returns true if a pod belongs to this component of its stack.
#[must_use]
pub fn belongs_to(pod: &Pod, component: Component) -> bool {
    label(&pod.metadata, NAME).is_some_and(|name| name == component.as_str())
}

fn watch_kind<K>(watches: &Watches, detail: fn(K) -> Detail) -> ObjectStore<StackChild>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static,
{
    let keep = move |object: K| {
        let metadata = object.meta();
        // Not the controller, since a stack does not control everything that it owns.
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.kind == TracingStack::KIND);
        Some(StackChild {
            resource: ApiResource::erase::<K>(&()),
            key: Key::of(&object),
            live: LiveObject::of(&object),
            instance: label(metadata, INSTANCE).cloned(),
            component: label(metadata, NAME).cloned(),
            owner: owner.cloned(),
            changed_by: changed_by(metadata),
            detail: detail(object),
        })
    };
    watches.start::<K, _>(&(), selected(), keep)
}

// Without the selector every Deployment and pod of the cluster would be decoded and kept.
fn selected() -> Config {
    Config::default().labels(&format!("{MANAGED_BY}={OPERATOR}"))
}

/// The value of a label.
pub(super) fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a String> {
    metadata.labels.as_ref()?.get(name)
}

/// The manager of the last change. Controllers write the status all the time, which is not a
/// change.
fn changed_by(metadata: &ObjectMeta) -> Option<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let changes = entries.filter(|entry| entry.subresource.is_none());
    let last = changes.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager.clone().filter(|it| it != FIELD_MANAGER)
}

/// Removes the metadata that changes with every write.
fn trimmed<K: Resource>(mut object: K) -> K {
    let metadata = object.meta_mut();
    // Otherwise a write that changes only the owners of fields would count as a change.
    metadata.managed_fields = None;
    metadata.resource_version = None;
    object
}
