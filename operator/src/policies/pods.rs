//! The pods that are instances of services, and their addresses.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{HostIP, PodCondition, PodIP};
use kube::core::{ApiResource, NotUsed, Object};
use parking_lot::Mutex;
use serde::Deserialize;
use spoor_policy::{Namespace, ServiceName};
use tokio::sync::watch;

use crate::{
    kubernetes::watch::ObjectStore,
    stacks::objects::labels::{Component, INSTANCE, MANAGED_BY, NAME, OPERATOR},
};

/// The label that names a pod's service for Spoor. Without it, [`NAME`] names the service, a label
/// that many pods have for other reasons.
pub(super) const SERVICE_LABEL: &str = "spoor.dev/service";

/// A pod as the API server sends it, with only the fields that are read.
pub(super) type RawPod = Object<NotUsed, RawPodStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawPodStatus {
    phase: Option<String>,
    #[serde(default)]
    conditions: Vec<PodCondition>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    #[serde(rename = "hostIPs", default)]
    host_ips: Vec<HostIP>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs", default)]
    pod_ips: Vec<PodIP>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) uid: String,
    /// The service that its labels name.
    pub(super) service: Option<ServiceName>,
    /// True if [`SERVICE_LABEL`] names the service.
    pub(super) has_spoor_label: bool,
    /// True if it is Ready and not being deleted.
    pub(super) is_ready: bool,
    /// True if it is one of the operator's Collectors that receive spans from services.
    pub(super) is_collector: bool,
    /// The stack that it is a sampler of, if it is one of the operator's samplers.
    pub(super) sampler_of: Option<String>,
    /// Its own addresses. Empty before it has one, and if it shares that of its node.
    pub(super) addresses: Vec<IpAddr>,
}

/// The resource of pods.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&())
}

/// Parses a pod. Returns none if it has ended.
pub(super) fn parse(raw: RawPod) -> Option<Pod> {
    let (metadata, status) = (raw.metadata, raw.status.unwrap_or_default());
    let labels = metadata.labels.unwrap_or_default();
    // The pod's address may belong to another pod by now.
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let service = |label| ServiceName::new(labels.get(label)?).ok();
    let explicit = service(SERVICE_LABEL);
    let has_spoor_label = explicit.is_some();
    let mut conditions = status.conditions.iter();
    let is_ready = metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let has_label = |label: &str, value: &str| labels.get(label).is_some_and(|it| it == value);
    let is_of = |component: Component| {
        has_label(NAME, component.as_str()) && has_label(MANAGED_BY, OPERATOR)
    };
    let is_collector = is_of(Component::Gather) || is_of(Component::Collector);
    let is_sampler = is_of(Component::Sampler);
    let sampler_of = labels.get(INSTANCE).filter(|_| is_sampler).cloned();
    Some(Pod {
        namespace: Namespace::new(metadata.namespace?).ok()?,
        name: metadata.name?,
        uid: metadata.uid?,
        service: explicit.or_else(|| service(NAME)),
        has_spoor_label,
        is_ready,
        is_collector,
        sampler_of,
        addresses: status.addresses(),
    })
}

impl RawPodStatus {
    fn addresses(&self) -> Vec<IpAddr> {
        let listed = self.pod_ips.iter().map(|address| &address.ip);
        let all = listed.chain(&self.pod_ip);
        // A pod on its node's network shares the address with every other such pod, so it
        // identifies none of them.
        let hosts = self.host_ips.iter().map(|address| &address.ip);
        let hosts = hosts.chain(&self.host_ip);
        let own = all.filter(|address| !hosts.clone().any(|host| host == *address));
        let mut own: Vec<IpAddr> = own.filter_map(|address| address.parse().ok()).collect();
        own.sort_unstable();
        own.dedup();
        own
    }
}

/// An index of pods by address.
pub(super) struct PodsByAddress {
    pods: ObjectStore<Pod>,
    changed: watch::Receiver<u64>,
    index: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    /// The value of `changed` when the index was built.
    at: Option<u64>,
    pods: HashMap<IpAddr, Vec<Arc<Pod>>>,
}

impl PodsByAddress {
    /// Creates an index of these pods. `changed` counts their changes.
    pub(super) fn new(pods: ObjectStore<Pod>, changed: watch::Receiver<u64>) -> Self {
        Self {
            pods,
            changed,
            index: Mutex::default(),
        }
    }

    /// The pods that have an address. There is more than one only while one pod replaces another.
    pub(super) fn pods_at(&self, address: IpAddr) -> Vec<Arc<Pod>> {
        // Read before the pods: a change in between makes the next call build the index again.
        let tick = *self.changed.borrow();
        let mut index = self.index.lock();
        // Built on request, since a rollout changes many pods between two requests.
        if index.at != Some(tick) {
            index.pods.clear();
            for pod in self.pods.all() {
                for address in &pod.addresses {
                    let pods = index.pods.entry(*address).or_default();
                    pods.push(pod.clone());
                }
            }
            index.at = Some(tick);
        }
        index.pods.get(&address).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn read(labels: Value, status: Value) -> Option<Pod> {
        let metadata = json!({"name": "a-0", "namespace": "shop", "uid": "1", "labels": labels});
        let raw = json!({"metadata": metadata, "spec": {"containers": []}, "status": status});
        parse(serde_json::from_value(raw).unwrap())
    }

    fn ready() -> Value {
        json!({
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}],
            "hostIP": "10.0.0.1", "podIP": "10.1.0.7", "podIPs": [{"ip": "10.1.0.7"}, {"ip": "fd00::7"}],
        })
    }

    #[rstest]
    #[case(json!({"spoor.dev/service": "a", "app.kubernetes.io/name": "b"}), Some(("a", true)))]
    #[case(json!({"app.kubernetes.io/name": "b"}), Some(("b", false)))]
    #[case(json!({"app": "b"}), None)]
    #[case(json!({"spoor.dev/service": ""}), None)]
    fn labels_name_the_service_of_a_pod(
        #[case] labels: Value,
        #[case] expected: Option<(&str, bool)>,
    ) {
        let pod = read(labels, ready()).unwrap();
        let found = pod
            .service
            .as_ref()
            .map(|it| (it.as_str(), pod.has_spoor_label));
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case("sampler", "spoor-operator", Some("tracing"))]
    #[case("sampler", "Helm", None)]
    #[case("other", "spoor-operator", None)]
    fn operators_labels_name_the_stack_of_a_sampler(
        #[case] component: &str,
        #[case] manager: &str,
        #[case] expected: Option<&str>,
    ) {
        let labels = json!({
            "app.kubernetes.io/name": component,
            "app.kubernetes.io/managed-by": manager,
            "app.kubernetes.io/instance": "tracing",
        });
        let pod = read(labels, ready()).unwrap();
        assert_eq!(pod.sampler_of.as_deref(), expected);
    }

    #[test]
    fn excludes_the_nodes_address() {
        let labels = json!({"spoor.dev/service": "a"});
        let pod = read(labels.clone(), ready()).unwrap();
        assert!(pod.is_ready);
        let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.1.0.7", "fd00::7"]);
        let on_its_node = json!({
            "phase": "Running",
            "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        });
        let pod = read(labels.clone(), on_its_node).unwrap();
        assert!(pod.addresses.is_empty() && !pod.is_ready);
        assert!(read(labels, json!({"phase": "Succeeded"})).is_none());
    }
}
