//! The objects that a stack consists of, and what their builders share. Both [`super::build`] and
//! [`super::collector`] depend on this module, and it depends on neither.

pub mod labels;
pub mod network;
pub mod otlp;
pub mod pod;
pub mod text;
pub mod workload;

use k8s_openapi::{
    Resource as _,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};

use crate::kubernetes::apply::Manifest;

/// The field manager of all that the role applies, and the reporter of its events.
pub(super) const FIELD_MANAGER: &str = "spoor-stacks";

/// The kinds of object that a stack consists of, in the order in which they are applied: what pods
/// need comes first.
const KINDS: [&str; 8] = [
    ConfigMap::KIND,
    Secret::KIND,
    PersistentVolumeClaim::KIND,
    Service::KIND,
    NetworkPolicy::KIND,
    PodDisruptionBudget::KIND,
    StatefulSet::KIND,
    Deployment::KIND,
];

/// Sorts objects into the order in which they are applied.
pub fn sort_by_kind(objects: &mut [Manifest]) {
    objects.sort_by_key(|object| KINDS.iter().position(|kind| *kind == object.resource.kind));
}
