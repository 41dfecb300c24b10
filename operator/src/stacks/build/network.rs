//! The NetworkPolicy of Jaeger.
//!
//! NetworkPolicies add up: to open Jaeger's page to another namespace, add a policy.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use spoor_api::stack::{ManagedJaeger, Stack, Storage};

use super::jaeger;
use crate::stacks::objects::{
    labels::{Component, component_metadata, label_selector},
    otlp::{OTLP_GRPC, OTLP_HTTP},
};

/// Lets pods of the namespace send and query traces, and everyone read Jaeger's metrics. Jaeger
/// itself connects only to external storage and Prometheus.
#[must_use]
pub fn jaeger(stack: &Stack, managed: &ManagedJaeger) -> NetworkPolicy {
    let from_namespace = NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(ports(&[
            OTLP_GRPC,
            OTLP_HTTP,
            jaeger::HTTP_QUERY,
            jaeger::GRPC_QUERY,
        ])),
    };
    let from_cluster = NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(ports(&[jaeger::METRICS])),
    };
    let asks_others =
        matches!(managed.storage, Storage::External { .. }) || managed.prometheus.is_some();
    // Unrestricted where it is needed: a NetworkPolicy cannot name a host, and the addresses of an
    // external database are not known.
    let egress = asks_others.then(NetworkPolicyEgressRule::default);
    NetworkPolicy {
        metadata: component_metadata(stack, Component::Jaeger, jaeger::name(stack)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(stack, Component::Jaeger)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![from_namespace, from_cluster]),
            egress: Some(egress.into_iter().collect()),
        }),
    }
}

fn ports(ports: &[u16]) -> Vec<NetworkPolicyPort> {
    let ports = ports.iter().map(|port| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(*port))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    });
    ports.collect()
}
