//! Policies, applied with kubectl, and their statuses.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{
    command::{in_repository, kubectl, kubectl_given},
    lab::{Lab, ROLLOUT_TIMEOUT},
    objects,
};
use crate::apiserver::eventually;

/// Applies a file of `k8s/samples/policies`.
pub async fn apply_sample(lab: &Lab, file: &str) {
    let path = in_repository(&format!("k8s/samples/policies/{file}"));
    kubectl(&["apply", "--namespace", lab.namespace, "-f", &path]).await;
}

/// Applies a policy with this specification.
pub async fn apply(lab: &Lab, name: &str, spec: &Value) {
    let policy = serde_json::json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": name},
        "spec": spec,
    });
    let arguments = ["apply", "--namespace", lab.namespace, "-f", "-"];
    kubectl_given(&policy.to_string(), &arguments).await;
}

/// Changes a policy with `kubectl patch`.
pub async fn patch(lab: &Lab, name: &str, spec: &Value) {
    let patch = serde_json::json!({ "spec": spec }).to_string();
    let kind = [
        "patch",
        "samplingpolicy",
        name,
        "--namespace",
        lab.namespace,
    ];
    kubectl(&[&kind[..], &["--type", "merge", "--patch", &patch]].concat()).await;
}

/// Deletes a policy.
pub async fn delete(lab: &Lab, name: &str) {
    kubectl(&[
        "delete",
        "samplingpolicy",
        name,
        "--namespace",
        lab.namespace,
    ])
    .await;
}

/// Waits until a condition of the policy has this status at its present generation. Returns the
/// policy.
pub async fn wait_for(lab: &Lab, name: &str, condition: &str, status: &str) -> Value {
    let what = format!("{condition}={status} of policy {name}");
    until(lab, name, &what, |policy| {
        objects::has(policy, condition, status)
    })
    .await
}

/// Waits until the policy meets a condition, which `what` describes. Returns the policy.
pub async fn until(lab: &Lab, name: &str, what: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    eventually(what, ROLLOUT_TIMEOUT, || async {
        let Some(policy) = objects::read(lab, "SamplingPolicy", name).await else {
            return Err("no such policy".to_owned());
        };
        if is_right(&policy) {
            Ok(policy)
        } else {
            Err(policy["status"].to_string())
        }
    })
    .await
}

/// Waits until every instance has acknowledged the policy. Returns it and the time since `since`.
pub async fn wait_until_converged(lab: &Lab, name: &str, since: Instant) -> (Value, Duration) {
    let policy = wait_for(lab, name, "Converged", "True").await;
    (policy, since.elapsed())
}
