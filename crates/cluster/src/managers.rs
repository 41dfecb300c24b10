//! The field managers of an object: who set which fields, as Kubernetes records it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::{DynamicObject, Status};
use spoor_policy::message::listed;

use crate::call::CallError;

/// The field manager of this client.
pub(crate) const FIELD_MANAGER: &str = "spoor";

/// The prefix of the managers by which `kubectl apply`, `edit`, `patch` and others record what a
/// person did by hand. `kubectl apply --server-side` has none of them: its manager, `kubectl`, keeps
/// its fields.
const BY_HAND: &str = "kubectl-";

/// The reason that Kubernetes gives for each field in a conflict.
const CONFLICT: &str = "FieldManagerConflict";

/// The most fields that a message names.
const MAX_NAMED_FIELDS: usize = 5;

/// Returns whether someone else manages a policy's spec, such as Argo CD, Flux or Helm. Their fields
/// are never taken over.
pub(crate) fn has_other_manager(object: &DynamicObject) -> bool {
    let mut entries = object.metadata.managed_fields.iter().flatten();
    entries.any(|entry| manages_spec(entry) && !is_own(entry.manager.as_deref()))
}

/// Returns whether all fields in a conflict may be taken over.
pub(crate) fn is_own_conflict(error: &CallError) -> bool {
    let Some(status) = error.response() else {
        return false;
    };
    let fields = fields(status);
    !fields.is_empty() && fields.iter().all(|(manager, _)| is_own(Some(manager)))
}

/// A message that names the other managers in a conflict, with their fields.
pub(crate) fn conflict(status: &Status) -> Option<String> {
    let fields = fields(status);
    let named: Vec<String> = fields
        .iter()
        .filter(|(manager, _)| !is_own(Some(manager)))
        .map(|(manager, field)| format!("{field} ({manager})"))
        .collect();
    if named.is_empty() {
        return None;
    }
    let name = status.details.as_ref().map(|details| &*details.name);
    Some(format!(
        "policy {:?} has fields that others manage: {}; change them there",
        name.unwrap_or_default(),
        listed(&named, MAX_NAMED_FIELDS)
    ))
}

/// The manager and the field of each cause of a conflict.
fn fields(status: &Status) -> Vec<(&str, &str)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let conflicts = causes.filter(|cause| cause.reason == CONFLICT);
    conflicts
        .map(|cause| (manager(&cause.message), cause.field.as_str()))
        .collect()
}

/// The manager in a message such as `conflict with "helm" using spoor.dev/v1alpha1`.
fn manager(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or(message)
}

fn manages_spec(entry: &ManagedFieldsEntry) -> bool {
    // The operator's entry is that of the status.
    let is_main = entry.subresource.as_deref().unwrap_or_default().is_empty();
    let fields = entry.fields_v1.as_ref();
    is_main && fields.is_some_and(|fields| fields.0.get("f:spec").is_some())
}

fn is_own(manager: Option<&str>) -> bool {
    manager.is_some_and(|it| it == FIELD_MANAGER || it.starts_with(BY_HAND))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn conflict_with(managers: &[&str]) -> CallError {
        let cause = |manager: &&str| {
            json!({
                "reason": CONFLICT,
                "message": format!("conflict with \"{manager}\" using spoor.dev/v1alpha1"),
                "field": ".spec.head.probability",
            })
        };
        let causes: Vec<Value> = managers.iter().map(cause).collect();
        let status = json!({"code": 409, "details": {"name": "a", "causes": causes}});
        let status: Status = serde_json::from_value(status).unwrap();
        CallError::Failed(Box::new(kube::Error::Api(Box::new(status))))
    }

    #[rstest::rstest]
    #[case(&["kubectl-client-side-apply", "spoor"], true)]
    #[case(&["kubectl-edit", "argocd-controller"], false)]
    #[case(&["kubectl"], false)]
    #[case(&[], false)]
    fn only_changes_by_hand_are_taken_over(#[case] managers: &[&str], #[case] own: bool) {
        assert_eq!(is_own_conflict(&conflict_with(managers)), own);
    }

    #[test]
    fn conflict_names_manager_and_field() {
        let error = conflict_with(&["helm", "kubectl-edit"]);
        let message = conflict(error.response().unwrap()).unwrap();
        assert_eq!(
            message,
            "policy \"a\" has fields that others manage: .spec.head.probability (helm); change them \
             there"
        );
    }

    #[rstest::rstest]
    #[case("helm", "", "f:spec", true)]
    #[case("spoor-operator", "status", "f:status", false)]
    #[case("controller", "", "f:metadata", false)]
    #[case("kubectl-client-side-apply", "", "f:spec", false)]
    #[case("spoor", "", "f:spec", false)]
    fn managers_of_the_spec_are_found(
        #[case] manager: &str,
        #[case] subresource: &str,
        #[case] part: &str,
        #[case] expected: bool,
    ) {
        let entry = json!({
            "manager": manager,
            "operation": "Update",
            "subresource": subresource,
            "fieldsV1": {part: {}},
        });
        let object = json!({"metadata": {"name": "a", "managedFields": [entry]}});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        assert_eq!(has_other_manager(&object), expected);
    }
}
