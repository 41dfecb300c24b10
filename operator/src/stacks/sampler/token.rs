//! The token that the samplers of a stack share. They refuse calls without it on the port where
//! they call each other.
//!
//! The operator creates its Secret once and never changes it. It may create Secrets, but may
//! neither read nor list them, so other objects have to show whether the Secret is missing.

use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret, SecretVolumeSource, Volume, VolumeMount};
use serde_json::json;
use spoor_api::stack::Stack;

use super::named;
use crate::{
    kubernetes::apply::Manifest,
    stacks::{
        objects::{labels::Component, workload::read_only_mount},
        pod_failure::is_being_created,
    },
};

const VOLUME: &str = "peers";
const FOLDER: &str = "/etc/spoor/peers";
/// The key of the Secret, and the file in the folder.
const KEY: &str = "token";

/// The Secret, without the token that it is created with.
pub(super) fn secret(stack: &Stack) -> Secret {
    Secret {
        metadata: named(stack, secret_name(stack)),
        ..Secret::default()
    }
}

fn secret_name(stack: &Stack) -> String {
    format!("{}-peers", Component::Sampler.name_in(stack))
}

/// The file with the token in the container.
pub(super) fn file() -> String {
    format!("{FOLDER}/{KEY}")
}

pub(super) fn mount() -> VolumeMount {
    read_only_mount(VOLUME, FOLDER)
}

pub(super) fn volume(stack: &Stack) -> Volume {
    Volume {
        name: VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret_name(stack)),
            // Readable by the pod's group, which `fsGroup` sets, and by no other user.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Adds a new token of 32 random bytes, in hexadecimal digits, to a Secret.
pub fn add_token(secret: &mut Manifest) {
    let [first, second]: [u128; 2] = rand::random();
    let token = format!("{first:032x}{second:032x}");
    secret.object.data["stringData"] = json!({ KEY: token });
}

/// Returns true if there may be no Secret of this name: no workload mounts it yet, or the
/// containers of a pod that mounts it have not been created.
#[must_use]
pub fn may_be_missing<'a>(
    secret: &str,
    mut workloads: impl Iterator<Item = &'a PodSpec>,
    pods: &[Pod],
) -> bool {
    let mounts = |pod: &PodSpec| {
        let mut volumes = pod.volumes.iter().flatten();
        volumes.any(|volume| {
            let source = volume.secret.as_ref();
            source.and_then(|source| source.secret_name.as_deref()) == Some(secret)
        })
    };
    let mut waiting = pods.iter().filter(|pod| is_being_created(pod));
    !workloads.any(mounts) || waiting.any(|pod| pod.spec.as_ref().is_some_and(mounts))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use rstest::rstest;
    use serde_json::{Value, from_value};

    use super::*;

    #[test]
    fn tokens_differ() {
        let tokens = (0..100).map(|_| {
            let mut secret = Manifest::of(&Secret::default());
            add_token(&mut secret);
            let token = secret.object.data["stringData"][KEY].as_str().unwrap();
            assert_eq!(token.len(), 64);
            assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
            token.to_owned()
        });
        assert_eq!(tokens.collect::<HashSet<_>>().len(), 100);
    }

    fn pod_spec(secret: &str) -> Value {
        let volumes = json!([
            {"name": "ca", "configMap": {"name": "tracing-ca"}},
            {"name": "peers", "secret": {"secretName": secret}},
        ]);
        json!({"containers": [], "volumes": volumes})
    }

    fn pod(secret: &str, state: &Value) -> Pod {
        let container = json!({
            "name": "sampler", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        });
        let pod = json!({
            "spec": pod_spec(secret),
            "status": {"containerStatuses": [container]},
        });
        from_value(pod).unwrap()
    }

    #[rstest]
    #[case::no_workload(&[], false, true)]
    #[case::other_secret(&["other"], false, true)]
    #[case::mounted(&["other", "peers"], false, false)]
    #[case::waiting_pod(&["peers"], true, true)]
    fn missing_secret_is_noticed(
        #[case] workloads: &[&str],
        #[case] is_waiting: bool,
        #[case] expected: bool,
    ) {
        let workloads = workloads
            .iter()
            .map(|secret| from_value::<PodSpec>(pod_spec(secret)));
        let workloads: Vec<PodSpec> = workloads.map(Result::unwrap).collect();
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        let running = json!({"running": {}});
        let pods = [
            pod("other", &creating),
            pod("peers", if is_waiting { &creating } else { &running }),
        ];
        let is_missing = may_be_missing("peers", workloads.iter(), &pods);
        assert_eq!(is_missing, expected);
    }
}
