//! The pods that are instances of services, and their addresses.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{HostIP, PodCondition, PodIP},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::{ApiResource, NotUsed, Object};
use parking_lot::Mutex;
use serde::Deserialize;
use spoor_policy::{Namespace, ServiceName};
use tokio::sync::watch;

use crate::{
    kubernetes::{resources::controller, watch::ObjectStore},
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
    let sampler_of = sampler_of(&metadata).map(str::to_owned);
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
    let is_collector = [Component::Gather, Component::Collector]
        .into_iter()
        .any(|component| has_labels_of(component, &labels));
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

/// Returns whether labels are those of the operator's pods of this component.
fn has_labels_of(component: Component, labels: &BTreeMap<String, String>) -> bool {
    let has = |label: &str, value: &str| labels.get(label).is_some_and(|it| it == value);
    has(NAME, component.as_str()) && has(MANAGED_BY, OPERATOR)
}

/// The stack that a pod is a sampler of, if it is one of the operator's samplers.
///
/// Whoever creates a pod chooses its labels, and its owner, too. But Kubernetes acts on the owner:
/// the garbage collector deletes the pod, or removes the reference, if the StatefulSet does not
/// exist under its name and UID, and the StatefulSet's own controller deletes a pod with an ordinal
/// for which it has no replica. What remains is a pod in the place of the stack's own one, since
/// both have the same name; whoever makes it has to delete the other one.
fn sampler_of(metadata: &ObjectMeta) -> Option<&str> {
    let labels = metadata.labels.as_ref()?;
    if !has_labels_of(Component::Sampler, labels) {
        return None;
    }
    let stack = labels.get(INSTANCE)?.as_str();
    let set = Component::Sampler.name_in_stack(stack);
    let owner = controller(metadata)?;
    let is_of_set = owner.api_version == "apps/v1" && owner.kind == "StatefulSet";
    let name = metadata.name.as_deref()?;
    let ordinal = name.strip_prefix(set.as_str())?.strip_prefix('-')?;
    // The controller of a StatefulSet names no pod `00`.
    let number: Option<u16> = ordinal.parse().ok();
    let is_ordinal = number.is_some_and(|number| number.to_string() == ordinal);
    (is_of_set && owner.name == set && is_ordinal).then_some(stack)
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

    /// The metadata of a pod of a stack's sampler.
    fn sampler() -> Value {
        let labels = json!({
            "app.kubernetes.io/name": "sampler",
            "app.kubernetes.io/managed-by": "spoor-operator",
            "app.kubernetes.io/instance": "tracing",
        });
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "tracing-sampler", "uid": "2",
            "controller": true,
        });
        json!({
            "name": "tracing-sampler-10", "namespace": "shop", "uid": "1", "labels": labels,
            "ownerReferences": [owner],
        })
    }

    fn stack_of(metadata: Value) -> Option<String> {
        let raw = json!({"metadata": metadata, "spec": {"containers": []}, "status": ready()});
        parse(serde_json::from_value(raw).unwrap())
            .unwrap()
            .sampler_of
    }

    #[test]
    fn sampler_belongs_to_the_stack_of_its_label() {
        assert_eq!(stack_of(sampler()).as_deref(), Some("tracing"));
    }

    #[rstest]
    #[case::component("/labels/app.kubernetes.io~1name", json!("other"))]
    #[case::manager("/labels/app.kubernetes.io~1managed-by", json!("Helm"))]
    #[case::stack("/labels/app.kubernetes.io~1instance", json!("other"))]
    #[case::name("/name", json!("tracing-0"))]
    #[case::no_ordinal("/name", json!("tracing-sampler-a"))]
    #[case::other_ordinal("/name", json!("tracing-sampler-00"))]
    #[case::no_owner("/ownerReferences", json!([]))]
    #[case::owner("/ownerReferences/0/name", json!("other"))]
    #[case::kind("/ownerReferences/0/kind", json!("ReplicaSet"))]
    #[case::group("/ownerReferences/0/apiVersion", json!("example.com/v1"))]
    #[case::no_controller("/ownerReferences/0/controller", json!(false))]
    fn other_pods_are_not_samplers(#[case] field: &str, #[case] value: Value) {
        let mut metadata = sampler();
        *metadata.pointer_mut(field).unwrap() = value;
        assert_eq!(stack_of(metadata), None);
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
