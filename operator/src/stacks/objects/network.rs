//! The parts that the Services and NetworkPolicies of all components have in common.

use k8s_openapi::{
    api::{
        core::v1::ServicePort,
        networking::v1::{
            NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
            NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use spoor_api::stack::Stack;

use super::labels::{Component, component_metadata, label_selector};

/// A port of a Service, and the port of the pods behind it.
#[must_use]
pub fn service_port(name: &str, port: u16, target: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(i32::from(target))),
        ..ServicePort::default()
    }
}

/// The NetworkPolicy of a component. Without `egress` its pods may connect to everything.
#[must_use]
pub fn network_policy(
    stack: &Stack,
    component: Component,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    let mut types = vec!["Ingress".to_owned()];
    types.extend(egress.is_some().then(|| "Egress".to_owned()));
    NetworkPolicy {
        metadata: component_metadata(stack, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(stack, component)),
            policy_types: Some(types),
            ingress: Some(ingress),
            egress,
        }),
    }
}

/// Lets these pods, or everyone, connect to ports.
#[must_use]
pub fn ingress(from: Option<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyIngressRule {
    let ports = ports.iter().map(|port| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(*port))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    });
    NetworkPolicyIngressRule {
        from: from.map(|from| vec![from]),
        ports: Some(ports.collect()),
    }
}

/// The pods of the stack's namespace that the selector matches.
#[must_use]
pub fn pods(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector),
        ..NetworkPolicyPeer::default()
    }
}
