//! The NetworkPolicy of the sampler.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use spoor_api::stack::{Collector, ExistingCollector, Stack};

use super::{OPS, PEERS};
use crate::stacks::objects::{
    labels::{Component, label_selector},
    network::{ingress, network_policy, pods},
    otlp::OTLP_GRPC_PORT,
};

/// The label of each namespace with its name, which the API server sets.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Lets only the Collector send spans, and only the stack's samplers call each other. The port of
/// metrics and probes is open to everyone.
pub(super) fn policy(stack: &Stack) -> NetworkPolicy {
    let senders = match &stack.collector {
        Collector::Managed(_) => vec![pods(label_selector(stack, Component::Collector))],
        Collector::Existing(existing) => namespaces(stack, existing),
    };
    // One rule for each sender, since a rule without senders would admit everyone.
    let senders = senders.into_iter();
    let mut rules: Vec<_> = senders
        .map(|sender| ingress(Some(sender), &[OTLP_GRPC_PORT]))
        .collect();
    let samplers = pods(label_selector(stack, Component::Sampler));
    rules.push(ingress(Some(samplers), &[PEERS]));
    rules.push(ingress(None, &[OPS]));
    network_policy(stack, Component::Sampler, rules, None)
}

/// All pods of the namespaces that the addresses of an existing Collector name, since the labels of
/// its own pods are unknown. None if the addresses are not those of Services: NetworkPolicies are
/// additive, so another one can admit more pods, and none could admit fewer.
fn namespaces(stack: &Stack, existing: &ExistingCollector) -> Vec<NetworkPolicyPeer> {
    let addresses = [Some(&existing.otlp), existing.kept.as_ref()];
    let addresses = addresses.into_iter().flatten();
    let named: BTreeSet<&str> = addresses
        .filter_map(|address| namespace_of(address.host(), stack.namespace.as_str()))
        .collect();
    let peers = named.into_iter().map(|name| NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(
                NAMESPACE_NAME.to_owned(),
                name.to_owned(),
            )])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    });
    peers.collect()
}

/// The namespace of a Service, from a DNS name by which pods of the namespace `own` reach it. None
/// for the names of other hosts, unless they look like `SERVICE.NAMESPACE`.
fn namespace_of<'a>(host: &'a str, own: &'a str) -> Option<&'a str> {
    if !host.contains('.') {
        return Some(own);
    }
    let service = host.split_once(".svc.").map(|(service, _)| service);
    match service.or_else(|| host.strip_suffix(".svc")) {
        Some(service) => service.rsplit_once('.').map(|(_, namespace)| namespace),
        None => {
            let (_, namespace) = host.split_once('.')?;
            (!namespace.contains('.')).then_some(namespace)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("collector", Some("shop"))]
    #[case("collector.tools.svc", Some("tools"))]
    #[case("collector.tools.svc.cluster.local", Some("tools"))]
    #[case("collector-0.collector.tools.svc", Some("tools"))]
    #[case("collector.tools", Some("tools"))]
    #[case("collector.svc", None)]
    #[case("collector.example.com", None)]
    fn service_names_have_a_namespace(#[case] host: &str, #[case] expected: Option<&str>) {
        assert_eq!(namespace_of(host, "shop"), expected);
    }
}
