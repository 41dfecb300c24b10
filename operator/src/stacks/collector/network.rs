//! The Services, NetworkPolicies and PodDisruptionBudgets of the tiers.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
            NetworkPolicySpec,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use spoor_api::stack::Stack;

use super::{DECIDE, GATHER, ports};
use crate::stacks::objects::{
    labels::{Component, component_metadata, label_selector, selector},
    otlp,
};

/// The headless Service by which gathering pods find each other and scrapers find their metrics,
/// and the Service of the deciding pod, whose address stays while pods come and go.
#[must_use]
pub fn services(stack: &Stack) -> Vec<Service> {
    vec![
        service(stack, Component::Gather, true, &ports::OF_GATHER),
        service(stack, Component::Decide, false, &ports::OF_DECIDE),
    ]
}

/// Lets clients in the stack's namespace reach the gathering pods, and those the deciding one.
/// Metrics are open to every scraper.
pub(super) fn network_policies(stack: &Stack) -> Vec<NetworkPolicy> {
    let namespace = NetworkPolicyPeer {
        pod_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    let gather = NetworkPolicyPeer {
        pod_selector: Some(label_selector(stack, Component::Gather)),
        ..NetworkPolicyPeer::default()
    };
    vec![
        network_policy(
            stack,
            Component::Gather,
            vec![
                ingress(Some(namespace), &[otlp::OTLP_GRPC, otlp::OTLP_HTTP]),
                ingress(Some(gather.clone()), &[ports::PEERS]),
                ingress(
                    None,
                    &[ports::OWN_METRICS, ports::SPAN_METRICS, ports::HEALTH],
                ),
            ],
        ),
        network_policy(
            stack,
            Component::Decide,
            vec![
                ingress(Some(gather), &[otlp::OTLP_GRPC]),
                ingress(None, &[ports::OWN_METRICS, ports::HEALTH]),
            ],
        ),
    ]
}

/// Lets one pod be evicted at a time where there are several.
pub(super) fn disruption_budgets(stack: &Stack, replicas: i32) -> Vec<PodDisruptionBudget> {
    let budget = PodDisruptionBudget {
        metadata: metadata(stack, Component::Gather),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(stack, Component::Gather)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    };
    (replicas > 1).then_some(budget).into_iter().collect()
}

fn service(stack: &Stack, component: Component, headless: bool, ports: &[(&str, u16)]) -> Service {
    let ports = ports.iter().map(|(name, port)| ServicePort {
        name: Some((*name).to_owned()),
        port: i32::from(*port),
        target_port: Some(IntOrString::String((*name).to_owned())),
        // Meshes and gateways need this to treat the port as HTTP/2.
        app_protocol: name
            .contains("grpc")
            .then(|| "kubernetes.io/h2c".to_owned()),
        ..ServicePort::default()
    });
    Service {
        metadata: metadata(stack, component),
        spec: Some(ServiceSpec {
            cluster_ip: headless.then(|| "None".to_owned()),
            selector: Some(selector(stack, component)),
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn network_policy(
    stack: &Stack,
    component: Component,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(stack, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(stack, component)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn ingress(from: Option<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyIngressRule {
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

fn metadata(stack: &Stack, component: Component) -> ObjectMeta {
    let tier = match component {
        Component::Decide => DECIDE,
        _ => GATHER,
    };
    component_metadata(stack, component, format!("{}-{tier}", stack.name))
}
