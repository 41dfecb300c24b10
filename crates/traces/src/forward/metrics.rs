//! The metrics of a forwarder.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    registry::{Registry, Unit},
};
use spoor_policy::PolicyKey;

use super::Forwarder;
use crate::{PolicyDecisions, metrics::Metrics};

const PREFIX: &str = "spoor_sampler";

impl Forwarder {
    /// Adds the forwarder's metrics, named `spoor_sampler_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.receiver.request_counts().register(registry, PREFIX);
        registry.register_collector(Box::new(self.clone()));
    }
}

/// Reads the forwarder's state when it is scraped.
impl Collector for Forwarder {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Read under one lock, so that the outcomes add up: received = kept + dropped + gathering.
        let (totals, backlog, policies, forwarded, rejected, postponed) = {
            let state = self.shared.state();
            let policies = state.sampler.decisions_by_policy();
            let totals = state.sampler.totals();
            let (forwarded, rejected) = (state.spans_forwarded, state.parts_rejected);
            let postponed = state.sampler.decisions_postponed();
            let backlog = state.backlog();
            (totals, backlog, policies, forwarded, rejected, postponed)
        };
        let mut metrics = Metrics(&mut encoder);
        metrics.totals(PREFIX, "Spans kept, including those sent since", &totals)?;
        let name = "spoor_sampler_spans_followed";
        let help = "Spans that arrived after the decision on their trace and followed it";
        metrics.counter(name, help, totals.followed)?;
        let name = "spoor_sampler_decisions_postponed";
        let help = "Times that a decision was postponed after the last sender had ended; several \
                    for a trace that waits for long";
        metrics.counter(name, help, postponed)?;
        let name = "spoor_sampler_spans_forwarded";
        let help =
            "Spans handed over to other samplers, or waiting for that; not counted as received";
        metrics.counter(name, help, forwarded)?;
        let name = "spoor_sampler_parts_rejected";
        let help = "Parts of requests from other samplers that could not be read";
        metrics.counter(name, help, rejected)?;
        let name = "spoor_sampler_batches_waiting";
        let help = "Batches that wait to be sent, excluding those being sent";
        metrics.gauge(name, help, None, backlog.batches as u64)?;
        let name = "spoor_sampler_outgoing";
        let help = "Memory of spans to send, including those being sent";
        let bytes = Some(&Unit::Bytes);
        metrics.gauge(name, help, bytes, backlog.bytes as u64)?;
        by_policy(&mut metrics, &policies)
    }
}

/// Writes the decisions of each policy. Traces that no rule matched have metrics of their own, since
/// a rule may have any name.
fn by_policy(
    metrics: &mut Metrics<'_, '_>,
    policies: &[(PolicyKey, PolicyDecisions)],
) -> fmt::Result {
    let of_policies = |count: fn(&PolicyDecisions) -> u64| -> Vec<_> {
        let counts = policies.iter();
        counts
            .map(|(policy, decisions)| ([("policy", policy.name.to_string())], count(decisions)))
            .collect()
    };
    let name = "spoor_sampler_policy_traces_decided";
    let help = "Traces decided on, by policy";
    let decided = of_policies(|it| it.decided);
    metrics.labelled_counters(name, help, &decided)?;
    let name = "spoor_sampler_policy_spans_decided";
    let help = "Spans of the traces decided on, by policy, excluding those that arrived later";
    let spans = of_policies(|it| it.spans);
    metrics.labelled_counters(name, help, &spans)?;
    let name = "spoor_sampler_policy_traces_unmatched";
    let help = "Traces that none of the policy's rules matched";
    let unmatched = of_policies(|it| it.unmatched);
    metrics.labelled_counters(name, help, &unmatched)?;
    let name = "spoor_sampler_policy_traces_unmatched_kept";
    let help = "Traces that none of the policy's rules matched and that were kept nevertheless";
    let unmatched_kept = of_policies(|it| it.unmatched_kept);
    metrics.labelled_counters(name, help, &unmatched_kept)?;
    let rules = policies.iter().flat_map(|(policy, decisions)| {
        decisions.rules.iter().map(move |(rule, kept)| {
            let policy = policy.name.to_string();
            let labels = [("policy", policy), ("rule", rule.to_string())];
            (labels, *kept)
        })
    });
    let rules: Vec<_> = rules.collect();
    let name = "spoor_sampler_rule_traces_kept";
    let help = "Traces kept because of a rule";
    metrics.labelled_counters(name, help, &rules)
}
