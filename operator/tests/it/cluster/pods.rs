//! Queries about pods, and their deletion.

use std::collections::BTreeMap;

use http::Request;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::Value;

use super::lab::{Lab, ROLLOUT_TIMEOUT};
use crate::apiserver::eventually;

/// The label of pods that tests start to send load.
pub const GENERATOR: &str = "spoor.dev/test-generator";

/// The uid and the number of restarts of each pod, by name.
pub type PodRuns = BTreeMap<String, (String, i32)>;

/// The pods with these labels.
pub async fn list(lab: &Lab, labels: &str) -> Vec<Pod> {
    let list = ListParams::default().labels(labels);
    api(lab).list(&list).await.unwrap().items
}

/// The pods of a service. The result changes when one is replaced or restarted.
pub async fn of_service(lab: &Lab, service: &str) -> PodRuns {
    let pods = list(lab, &format!("app.kubernetes.io/name={service}")).await;
    let runs = pods.into_iter().map(|pod| {
        let restarts = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .map(|container| container.restart_count)
            .sum();
        let metadata = pod.metadata;
        (metadata.name.unwrap(), (metadata.uid.unwrap(), restarts))
    });
    runs.collect()
}

/// The pods of service-a and service-b.
pub async fn of_services(lab: &Lab) -> PodRuns {
    let mut runs = of_service(lab, "service-a").await;
    runs.extend(of_service(lab, "service-b").await);
    assert!(runs.len() >= 2, "{runs:?}");
    runs
}

/// Waits until every pod that is not a generator is ready and none is terminating.
pub async fn wait_until_ready(lab: &Lab) {
    eventually("every pod ready", ROLLOUT_TIMEOUT, || async {
        let pods = list(lab, &format!("!{GENERATOR},!job-name")).await;
        let waiting: Vec<_> = pods
            .iter()
            .filter(|pod| !is_ready(pod) && !has_ended(pod))
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        if waiting.is_empty() && !pods.is_empty() {
            Ok(())
        } else {
            Err(format!("not ready: {waiting:?}"))
        }
    })
    .await;
}

/// Memory of each pod in bytes: the working set that the kubelet reports.
pub async fn memory(lab: &Lab) -> BTreeMap<String, u64> {
    let nodes = Api::<Node>::all(lab.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let mut memory = BTreeMap::new();
    for node in nodes.items {
        let node = node.metadata.name.unwrap();
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let summary = Request::get(path).body(Vec::new()).unwrap();
        let summary: Value = lab.client.request(summary).await.unwrap();
        let pods = summary["pods"].as_array().unwrap();
        let ours = pods
            .iter()
            .filter(|it| it["podRef"]["namespace"] == lab.namespace);
        memory.extend(ours.map(|pod| {
            let containers = pod["containers"].as_array().into_iter().flatten();
            let taken = containers.filter_map(|it| it["memory"]["workingSetBytes"].as_u64());
            (pod["podRef"]["name"].to_string(), taken.sum())
        }));
    }
    memory
}

/// Kills pods with these labels at once, as a node's failure would, and returns their number.
pub async fn kill(lab: &Lab, labels: &str) -> usize {
    let pods = list(lab, labels).await;
    for pod in &pods {
        delete_now(lab, pod.metadata.name.as_deref().unwrap()).await;
    }
    pods.len()
}

/// Deletes a pod at once, if it exists.
pub async fn delete_now(lab: &Lab, name: &str) {
    let at_once = DeleteParams::default().grace_period(0);
    match api(lab).delete(name, &at_once).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("deleting {name}: {error}"),
    }
}

/// Removes senders of earlier tests.
pub async fn delete_generators(lab: &Lab) {
    let at_once = DeleteParams::default().grace_period(0);
    let generators = ListParams::default().labels(GENERATOR);
    api(lab)
        .delete_collection(&at_once, &generators)
        .await
        .unwrap();
}

pub fn api(lab: &Lab) -> Api<Pod> {
    Api::namespaced(lab.client.clone(), lab.namespace)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
}

/// Returns true for pods that have run to their end, such as those of hooks.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
