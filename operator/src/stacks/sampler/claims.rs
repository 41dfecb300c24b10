//! The claims of the samplers' volumes, one for each.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::Value;
use spoor_api::tracing_stack;

use super::{JOURNAL_VOLUME, SamplerInput, named, pod_name};

/// The template by which each pod of the StatefulSet gets a claim of its own, if there should be
/// claims.
pub(super) fn template(input: &SamplerInput<'_>) -> Option<PersistentVolumeClaim> {
    claim(input, JOURNAL_VOLUME.to_owned())
}

/// The claims of all samplers. They have the names that the StatefulSet gives to the claims of its
/// pods, which it then does not create itself. So they are deleted with the stack, and a volume can
/// grow although the template cannot be changed.
pub(super) fn claims(input: &SamplerInput<'_>) -> Vec<PersistentVolumeClaim> {
    let names = (0..input.sampler.replicas).map(|ordinal| {
        let pod = pod_name(input.stack, ordinal);
        format!("{JOURNAL_VOLUME}-{pod}")
    });
    names.filter_map(|name| claim(input, name)).collect()
}

fn claim(input: &SamplerInput<'_>, name: String) -> Option<PersistentVolumeClaim> {
    let storage = &input.sampler.storage;
    let claim = storage.claim.as_ref()?;
    let class = claim.storage_class_name.as_ref();
    let size = ("storage".to_owned(), Quantity(storage.size.to_string()));
    Some(PersistentVolumeClaim {
        metadata: named(input.stack, name),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: class.map(ToString::to_string),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([size])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}

/// Returns true if a StatefulSet has the template of the desired one, which is given as JSON. The
/// API server refuses to change it.
#[must_use]
pub fn has_same_claims(live: &StatefulSet, desired: &Value) -> bool {
    // Kubernetes' types are maps of strings and numbers, so encoding them as JSON cannot fail.
    let live = serde_json::to_value(live).unwrap_or_default();
    class_and_size(&live) == class_and_size(desired)
}

/// The StorageClass and the size of the template, if there is one.
fn class_and_size(set: &Value) -> Option<(Option<&str>, Option<u128>)> {
    let claim = set.pointer("/spec/volumeClaimTemplates/0/spec")?;
    let class = claim.get("storageClassName").and_then(Value::as_str);
    let size = claim.pointer("/resources/requests/storage");
    // The API server writes sizes in another unit.
    let size = size.and_then(Value::as_str).and_then(|size| {
        let size = tracing_stack::Quantity(size.to_owned());
        size.millionths().ok()
    });
    Some((class, size))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn set(templates: &Value) -> Value {
        json!({"spec": {"volumeClaimTemplates": templates}})
    }

    fn template(class: Option<&str>, size: &str) -> Value {
        json!([{"spec": {
            "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        }}])
    }

    #[rstest]
    #[case::without_claims(Value::Null, true)]
    #[case::same_size(template(None, "2147483648"), false)]
    fn claims_cannot_be_added(#[case] desired: Value, #[case] is_same: bool) {
        let live = json!({"spec": {"selector": {}, "serviceName": "a", "template": {}}});
        let live = serde_json::from_value(live).unwrap();
        assert_eq!(has_same_claims(&live, &set(&desired)), is_same);
    }

    #[rstest]
    #[case::without_claims(Value::Null, false)]
    #[case::same_size(template(None, "2147483648"), true)]
    #[case::larger(template(None, "4294967296"), false)]
    #[case::of_a_class(template(Some("fast"), "2147483648"), false)]
    fn template_cannot_be_changed(#[case] desired: Value, #[case] is_same: bool) {
        // With the fields that the API server adds.
        let claim = json!({
            "metadata": {"name": "journal"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "2Gi"}},
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Pending"},
        });
        let live = json!({"spec": {
            "selector": {}, "serviceName": "a", "template": {}, "volumeClaimTemplates": [claim],
        }});
        let live = serde_json::from_value(live).unwrap();
        assert_eq!(has_same_claims(&live, &set(&desired)), is_same);
    }
}
