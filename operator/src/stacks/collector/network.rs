//! The Services and NetworkPolicies of the Collector.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use spoor_api::stack::Stack;

use super::{pipelines, ports};
use crate::stacks::objects::{
    labels::{Component, component_metadata, label_selector, selector},
    network::{ingress, network_policy, pods, service_port},
    otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT},
};

/// The headless Service by which gathering pods find each other and scrapers find their metrics,
/// and the Service of the deciding pod, whose address stays the same when the pod is replaced.
#[must_use]
pub fn services(stack: &Stack) -> Vec<Service> {
    vec![
        service(stack, Component::Gather, true, &ports::GATHERING_POD),
        service(stack, Component::Decide, false, &ports::DECIDING_POD),
    ]
}

/// The Services of a Collector with a sampler between two pipelines: a headless one by which
/// scrapers find the pods, and one through which samplers return the spans that they keep, whose
/// address stays the same when a pod is replaced.
#[must_use]
pub fn pipeline_services(stack: &Stack) -> Vec<Service> {
    let kept = [("kept-grpc", ports::KEPT)];
    let mut kept = service(stack, Component::Collector, false, &kept);
    kept.metadata.name = Some(pipelines::kept_name(stack));
    vec![
        service(stack, Component::Collector, true, &ports::PIPELINES_POD),
        kept,
    ]
}

/// Lets clients in the stack's namespace reach the Collector, and lets only samplers reach the
/// receiver for the spans that they keep. The ports of metrics and probes are open to everyone.
pub(super) fn pipeline_policy(stack: &Stack) -> NetworkPolicy {
    let namespace = pods(LabelSelector::default());
    let samplers = pods(label_selector(stack, Component::Sampler));
    let open = [ports::OWN_METRICS, ports::SPAN_METRICS, ports::HEALTH];
    let rules = vec![
        ingress(Some(namespace), &[OTLP_GRPC_PORT, OTLP_HTTP_PORT]),
        ingress(Some(samplers), &[ports::KEPT]),
        ingress(None, &open),
    ];
    network_policy(stack, Component::Collector, rules, None)
}

/// Lets clients in the stack's namespace reach the gathering pods, and the gathering pods reach
/// each other and the deciding one. The ports of metrics and probes are open to everyone.
pub(super) fn network_policies(stack: &Stack) -> Vec<NetworkPolicy> {
    let namespace = pods(LabelSelector::default());
    let gather = pods(label_selector(stack, Component::Gather));
    let open = [ports::OWN_METRICS, ports::SPAN_METRICS, ports::HEALTH];
    let to_gather = vec![
        ingress(Some(namespace), &[OTLP_GRPC_PORT, OTLP_HTTP_PORT]),
        ingress(Some(gather.clone()), &[ports::PEERS]),
        ingress(None, &open),
    ];
    let to_decide = vec![
        ingress(Some(gather), &[OTLP_GRPC_PORT]),
        ingress(None, &[ports::OWN_METRICS, ports::HEALTH]),
    ];
    vec![
        network_policy(stack, Component::Gather, to_gather, None),
        network_policy(stack, Component::Decide, to_decide, None),
    ]
}

fn service(stack: &Stack, component: Component, headless: bool, ports: &[(&str, u16)]) -> Service {
    let ports = ports.iter().map(|(name, port)| ServicePort {
        // Meshes and gateways need this to treat the port as HTTP/2.
        app_protocol: name
            .contains("grpc")
            .then(|| "kubernetes.io/h2c".to_owned()),
        ..service_port(name, *port, *port)
    });
    Service {
        metadata: component_metadata(stack, component),
        spec: Some(ServiceSpec {
            cluster_ip: headless.then(|| "None".to_owned()),
            selector: Some(selector(stack, component)),
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
