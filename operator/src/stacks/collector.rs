//! The Collector of a stack: with its own tail sampler in two tiers, or with Spoor's sampler between
//! two pipelines ([`pipelines`]).
//!
//! Of the two tiers, the gathering one receives spans and forwards complete traces to the deciding
//! one, which keeps or drops each trace by the tail policies and exports what it keeps. When its
//! rules change, the Collector's sampler decides immediately on the spans it holds. Since it
//! receives a trace only once that is complete, it does not decide on a part of one
//! (`docs/tail-rules.md` has the limits). A change of rules replaces the deciding pod only.
//!
//! With several replicas the gathering pods distribute spans among themselves by trace ID. While
//! their number changes, parts of one trace may pass through two of them. The parts meet again in
//! the deciding pod, whose wait exceeds the time between them. So there is always one deciding pod,
//! and the two tiers never change at the same time ([`rollout`]).
//!
//! Everything here is pure: a stack and a table in, objects out.

mod decide;
pub mod exporter;
mod gather;
mod memory;
mod network;
mod ottl;
mod parts;
pub mod pipelines;
pub mod ports;
pub mod rollout;
mod rules;
pub mod samples;
mod workload;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use spoor_api::stack::{ManagedCollector, Stack};
use spoor_policy::TailTable;

pub use gather::{CLIENT_RECEIVER, PEER_RECEIVER};
pub use network::{pipeline_services, services};
pub use workload::SPEC_HASH;

use memory::TierMemory;
use workload::{Pods, resources};

use super::objects::{
    labels::Component,
    otlp::{MAX_CONNECTION_AGE, MAX_CONNECTION_AGE_GRACE},
    pod::PodDefaults,
    text,
    workload::disruption_budget,
};
use crate::kubernetes::apply::Manifest;

/// The annotation of deciding pods with the [`TailTable::digest`] of their rules.
pub const TAIL_DIGEST: &str = "spoor.dev/tail-digest";
/// The annotation of deciding pods with the number of their policies.
pub const TAIL_POLICIES: &str = "spoor.dev/tail-policies";
/// The annotation of deciding pods with a hash of everything but their rules.
pub const PIPELINE_HASH: &str = "spoor.dev/pipeline-hash";

/// The time after which a terminating pod gets no new connections.
const ENDPOINTS_LAG: Duration = Duration::from_secs(2);
/// The time after which every client of the cluster's DNS sees a change of a tier's pods: responses
/// are cached for up to 30 s.
const DNS_LAG: Duration = Duration::from_secs(35);

/// The inputs of a stack's Collector.
#[derive(Clone, Copy, Debug)]
pub struct CollectorInput<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// Its Collector.
    pub collector: &'a ManagedCollector,
    /// The host and port of Jaeger's OTLP receiver over gRPC.
    pub jaeger_otlp: &'a str,
    /// The endpoint for clients' own counts, `http://HOST:PORT`.
    pub counts_endpoint: &'a str,
    /// The tail policies in force.
    pub tail: &'a TailTable,
    /// Defaults for the pods of every stack.
    pub pods: &'a PodDefaults,
}

/// A tier's own objects. They are applied together, when [`rollout::plan`] allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Its configuration. The name contains a hash of the content.
    pub config: ConfigMap,
    /// Its pods.
    pub workload: Deployment,
}

impl Tier {
    /// Its objects.
    #[must_use]
    pub fn objects(&self) -> [Manifest; 2] {
        [Manifest::of(&self.config), Manifest::of(&self.workload)]
    }
}

/// All objects of a stack's Collector.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectorObjects {
    /// The gathering tier.
    pub gather: Tier,
    /// The deciding tier.
    pub decide: Tier,
    /// The NetworkPolicies of both tiers.
    pub network_policies: Vec<NetworkPolicy>,
    /// The PodDisruptionBudget of the gathering tier, if it has several pods.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The time after the last change of gathering pods for which parts of a trace may arrive from
    /// two of them.
    pub settle_delay: Duration,
}

/// Builds the objects of a stack's Collector.
#[must_use]
pub fn build(input: &CollectorInput<'_>) -> CollectorObjects {
    let replicas = i32::from(input.collector.replicas);
    CollectorObjects {
        gather: gather(input, replicas),
        decide: decide(input),
        network_policies: network::network_policies(input.stack),
        disruption_budget: disruption_budget(input.stack, Component::Gather, replicas),
        settle_delay: settle_delay(input.collector),
    }
}

/// The objects of a Collector with a sampler between two pipelines, other than its Services.
#[must_use]
pub fn pipeline_objects(input: &CollectorInput<'_>) -> Vec<Manifest> {
    let replicas = i32::from(input.collector.replicas);
    let pods = Pods {
        input,
        component: Component::Collector,
        config: text::yaml(&pipelines::config(input)),
        replicas,
        ports: &ports::PIPELINES_POD,
        feature_gates: None,
        // Until clients and samplers have connected to other pods.
        drain_time: ENDPOINTS_LAG + MAX_CONNECTION_AGE + MAX_CONNECTION_AGE_GRACE,
        annotations: BTreeMap::new(),
    };
    let mut objects = Vec::from(pods.build().objects());
    objects.push(Manifest::of(&network::pipeline_policy(input.stack)));
    let budget = disruption_budget(input.stack, Component::Collector, replicas);
    objects.extend(budget.iter().map(Manifest::of));
    objects
}

/// The time until the last span that reaches the gathering pods has left the deciding one.
#[must_use]
pub fn drain_time(collector: &ManagedCollector) -> Duration {
    const SEND_TIME: Duration = Duration::from_secs(2);
    collector.gather_wait + collector.decision_wait + 2 * SEND_TIME
}

/// The time for which a gathering pod continues when it is deleted: until its clients have
/// connected to other pods, their last spans are gathered, and its peers no longer resolve its
/// address.
fn gather_drain_time(collector: &ManagedCollector) -> Duration {
    let clients = ENDPOINTS_LAG + MAX_CONNECTION_AGE + MAX_CONNECTION_AGE_GRACE;
    // The last second is for sending.
    clients.max(DNS_LAG) + collector.gather_wait + Duration::from_secs(1)
}

fn settle_delay(collector: &ManagedCollector) -> Duration {
    // A single pod has no peers that could still send to a former one.
    let dns_lag = (collector.replicas > 1).then_some(DNS_LAG);
    dns_lag.unwrap_or_default() + collector.gather_wait + collector.decision_wait
}

fn gather(input: &CollectorInput<'_>, replicas: i32) -> Tier {
    let pods = Pods {
        input,
        component: Component::Gather,
        config: text::yaml(&gather::config(input)),
        replicas,
        ports: &ports::GATHERING_POD,
        feature_gates: None,
        drain_time: gather_drain_time(input.collector),
        annotations: BTreeMap::new(),
    };
    pods.build()
}

fn decide(input: &CollectorInput<'_>) -> Tier {
    let namespace = &input.stack.namespace;
    let of = |tail: &TailTable, annotations| {
        let config = decide::config(input, rules::policies(tail, namespace));
        let pods = Pods {
            input,
            component: Component::Decide,
            config: text::yaml(&config),
            // One pod for any number of replicas, since the parts of a trace have to meet.
            replicas: 1,
            ports: &ports::DECIDING_POD,
            feature_gates: Some(decide::FEATURE_GATES),
            drain_time: ENDPOINTS_LAG + MAX_CONNECTION_AGE,
            annotations,
        };
        pods.build()
    };
    // Hashed without rules, so that the rollout can distinguish a change of rules from a change of
    // the pipeline.
    let without_rules = of(&TailTable::default(), BTreeMap::new()).workload;
    let policies = rules::count(input.tail, namespace);
    let annotations = [
        (TAIL_DIGEST, input.tail.digest(namespace).to_string()),
        (TAIL_POLICIES, policies.to_string()),
        (PIPELINE_HASH, workload::hash(&without_rules)),
    ];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value));
    of(input.tail, annotations.into())
}

fn memory(collector: &ManagedCollector) -> TierMemory {
    TierMemory::of(&resources(collector))
}

#[cfg(test)]
mod tests;
