//! The NetworkPolicy of Jaeger.
//!
//! NetworkPolicies are additive: to open Jaeger's UI to another namespace, add a policy.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use spoor_api::stack::{ManagedJaeger, Stack, Storage};

use super::jaeger;
use crate::stacks::objects::{
    labels::Component,
    network::{ingress, network_policy, pods},
    otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT},
};

/// Lets pods of the namespace send and query traces, and pods of every namespace read Jaeger's
/// metrics. Jaeger itself connects only to external storage and Prometheus.
#[must_use]
pub fn jaeger(stack: &Stack, managed: &ManagedJaeger) -> NetworkPolicy {
    let namespace = pods(LabelSelector::default());
    let cluster = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let ports = [
        OTLP_GRPC_PORT,
        OTLP_HTTP_PORT,
        jaeger::QUERY_PORT,
        jaeger::GRPC_QUERY_PORT,
    ];
    let ingress = vec![
        ingress(Some(namespace), &ports),
        ingress(Some(cluster), &[jaeger::METRICS_PORT]),
    ];
    let needs_egress =
        matches!(managed.storage, Storage::External { .. }) || managed.prometheus.is_some();
    // Unrestricted where it is needed: a NetworkPolicy cannot name a host, and the operator does
    // not know the addresses of an external database.
    let egress = needs_egress.then(NetworkPolicyEgressRule::default);
    let egress = egress.into_iter().collect();
    network_policy(stack, Component::Jaeger, ingress, Some(egress))
}
