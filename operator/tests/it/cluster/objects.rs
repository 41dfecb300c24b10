//! Reads and changes Spoor's objects on the API server, without kubectl.

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::Value;

use super::lab::Lab;

/// Reads one of Spoor's objects.
pub async fn read(lab: &Lab, kind: &str, name: &str) -> Option<Value> {
    read_in(lab, lab.namespace, kind, name).await
}

/// Reads one of Spoor's objects in another namespace.
pub async fn read_in(lab: &Lab, namespace: &str, kind: &str, name: &str) -> Option<Value> {
    let object = api(lab, namespace, kind).get_opt(name).await.unwrap()?;
    Some(serde_json::to_value(object).unwrap())
}

/// Changes one of Spoor's objects by a merge patch.
pub async fn patch(lab: &Lab, kind: &str, name: &str, patch: &Value) {
    let objects = api(lab, lab.namespace, kind);
    let parameters = PatchParams::default();
    let patched = objects.patch(name, &parameters, &Patch::Merge(patch)).await;
    patched.unwrap();
}

fn api(lab: &Lab, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("spoor.dev", "v1alpha1", kind));
    Api::namespaced_with(lab.client.clone(), namespace, &resource)
}

/// A condition of its status, if it is of the object's current generation.
pub fn condition<'object>(object: &'object Value, name: &str) -> Option<&'object Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| {
        condition["type"] == name
            && condition["observedGeneration"] == object["metadata"]["generation"]
    })
}

/// Returns true if a condition has this status and is of the object's current generation.
pub fn has(object: &Value, name: &str, status: &str) -> bool {
    condition(object, name).is_some_and(|condition| condition["status"] == status)
}
