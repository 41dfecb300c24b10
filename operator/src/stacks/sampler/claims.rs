//! The claims of the samplers' volumes, one for each.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::api::PropagationPolicy;
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

/// The way to delete a StatefulSet whose claim template differs from that of the desired one, which
/// is given as JSON: the API server refuses to change it. None if the template can stay.
///
/// The pods stay and belong to the next StatefulSet, which replaces them one after the other. But
/// its controller would try to give a claim to a pod without one, although a pod's volumes cannot
/// change. It would retry that for ever instead of replacing the pod
/// (<https://github.com/kubernetes/kubernetes/issues/141876>). So such pods have to end first.
#[must_use]
pub fn deletion(live: &StatefulSet, desired: &Value) -> Option<PropagationPolicy> {
    // Kubernetes' types are maps of strings and numbers, so encoding them as JSON cannot fail.
    let live = serde_json::to_value(live).unwrap_or_default();
    match (Template::of(&live), Template::of(desired)) {
        (live, desired) if live == desired => None,
        (Some(_), _) => Some(PropagationPolicy::Orphan),
        (None, _) => Some(PropagationPolicy::Foreground),
    }
}

/// The fields of a claim template that are compared.
#[derive(PartialEq, Eq)]
struct Template<'a> {
    class: Option<&'a str>,
    /// In millionths, since the API server may write sizes in another unit. Above 931 GiB, a size
    /// in bytes has more digits than [`tracing_stack::Quantity`] accepts, and is compared as text.
    size: Option<Result<u128, &'a str>>,
}

impl<'a> Template<'a> {
    /// The template of a StatefulSet, which is given as JSON.
    fn of(set: &'a Value) -> Option<Self> {
        let claim = set.pointer("/spec/volumeClaimTemplates/0/spec")?;
        let class = claim.get("storageClassName").and_then(Value::as_str);
        let size = claim.pointer("/resources/requests/storage");
        let size = size.and_then(Value::as_str).map(|size| {
            let millionths = tracing_stack::Quantity(size.to_owned()).millionths();
            millionths.map_err(|_| size)
        });
        Some(Self { class, size })
    }
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
    #[case::without_claims(Value::Null, None)]
    #[case::same_size(template(None, "2147483648"), Some(PropagationPolicy::Foreground))]
    fn pods_without_claims_end_first(
        #[case] desired: Value,
        #[case] expected: Option<PropagationPolicy>,
    ) {
        let live = json!({"spec": {"selector": {}, "serviceName": "a", "template": {}}});
        let live = serde_json::from_value(live).unwrap();
        assert_eq!(deletion(&live, &set(&desired)), expected);
    }

    #[rstest]
    #[case::same_size("1099511627776", None)]
    #[case::smaller("1020054732800", Some(PropagationPolicy::Orphan))]
    fn long_sizes_are_compared(#[case] desired: &str, #[case] expected: Option<PropagationPolicy>) {
        let mut live = set(&template(None, "1099511627776"));
        live["spec"]["selector"] = json!({});
        live["spec"]["template"] = json!({});
        let live = serde_json::from_value(live).unwrap();
        assert_eq!(deletion(&live, &set(&template(None, desired))), expected);
    }

    #[rstest]
    #[case::without_claims(Value::Null, Some(PropagationPolicy::Orphan))]
    #[case::same_size(template(None, "2147483648"), None)]
    #[case::larger(template(None, "4294967296"), Some(PropagationPolicy::Orphan))]
    #[case::of_a_class(template(Some("fast"), "2147483648"), Some(PropagationPolicy::Orphan))]
    fn pods_with_claims_stay(#[case] desired: Value, #[case] expected: Option<PropagationPolicy>) {
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
        assert_eq!(deletion(&live, &set(&desired)), expected);
    }
}
