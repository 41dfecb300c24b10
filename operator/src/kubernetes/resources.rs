//! Spoor's own resources, as clients and events refer to them.

use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::core::{ApiResource, GroupVersionKind};
use spoor_api::{API_VERSION, GROUP, Metadata, VERSION};

use super::key::Key;

/// The resource of `SamplingPolicy`.
#[must_use]
pub fn sampling_policies() -> ApiResource {
    resource("SamplingPolicy", "samplingpolicies")
}

/// The resource of `TracingStack`.
#[must_use]
pub fn tracing_stacks() -> ApiResource {
    resource("TracingStack", "tracingstacks")
}

/// A reference to an object, for events.
#[must_use]
pub fn reference(kind: &str, key: &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// The owner that controls an object, if any.
#[must_use]
pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

/// The metadata of an object, as it is written in YAML.
#[must_use]
pub fn metadata(key: &Key) -> Metadata {
    Metadata {
        namespace: Some(key.namespace.clone()),
        ..Metadata::named(&key.name)
    }
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    // Without types: the operator also has to handle objects that its types would refuse.
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}
