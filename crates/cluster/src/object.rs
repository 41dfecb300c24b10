//! Policies as the API server returns them.

use jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use spoor_api::{API_VERSION, GROUP, SamplingPolicy, VERSION, read};
use spoor_policy::Policy;

/// The resource of `SamplingPolicy`.
pub(crate) fn sampling_policies() -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, VERSION, SamplingPolicy::KIND);
    // Without types: a newer version may have written what this one would refuse.
    ApiResource::from_gvk_with_plural(&kind, "samplingpolicies")
}

/// The policy in an object, or a message that says which object is none.
pub(crate) fn policy(object: &DynamicObject) -> Result<SamplingPolicy, String> {
    let parse = || -> serde_json::Result<SamplingPolicy> {
        let mut value = serde_json::to_value(object)?;
        if let Value::Object(fields) = &mut value {
            // Items of a list need not have these.
            fields.insert("apiVersion".to_owned(), API_VERSION.into());
            fields.insert("kind".to_owned(), SamplingPolicy::KIND.into());
        }
        match read::stored_policy(value.clone()) {
            Ok(policy) => Ok(policy),
            // An operator of another version may have written the status.
            Err(_) => {
                if let Value::Object(fields) = &mut value {
                    fields.remove("status");
                }
                read::stored_policy(value)
            }
        }
    };
    parse().map_err(|error| format!("{}: cannot be read: {error}", describe(object)))
}

/// The valid policy in an object, and none if it is being deleted or invalid: such a policy decides
/// nowhere.
pub(crate) fn valid_policy(object: &DynamicObject) -> Option<Policy> {
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    policy(object).ok()?.validate(created(object)?).ok()
}

fn created(object: &DynamicObject) -> Option<Timestamp> {
    object.metadata.creation_timestamp.as_ref().map(|it| it.0)
}

fn describe(object: &DynamicObject) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let metadata = &object.metadata;
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn object(spec: Value, status: Value) -> DynamicObject {
        let metadata = json!({
            "name": "a", "namespace": "shop", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
        });
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn server_metadata_is_read_or_ignored() {
        let spec = json!({"head": {"probability": "1%"}});
        let policy = policy(&object(spec, json!({"conditions": []}))).unwrap();
        assert_eq!(policy.metadata.generation, Some(2));
        assert!(policy.status.is_some());
    }

    #[test]
    fn status_of_another_version_is_ignored() {
        let spec = json!({"head": {"probability": "1%"}});
        let policy = policy(&object(spec, json!({"clients": "three"}))).unwrap();
        assert_eq!(policy.status, None);
    }

    #[test]
    fn spec_of_another_version_names_the_policy() {
        let error = policy(&object(json!({"hat": {}}), json!({}))).unwrap_err();
        assert!(error.starts_with("shop/a: cannot be read: "), "{error}");
    }

    #[test]
    fn policy_being_deleted_decides_nowhere() {
        let mut going = object(json!({"head": {"probability": "1%"}}), json!({}));
        assert!(valid_policy(&going).is_some());
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert_eq!(valid_policy(&going), None);
    }
}
