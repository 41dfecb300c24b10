//! Metrics of the decisions that samplers report, read when they are scraped.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
    registry::Registry,
};
use spoor_policy::{Namespace, PolicyName};

use super::Control;
use crate::tail_counts::TailDecisions;

/// A value with the names and values of its labels.
type Labelled<const N: usize> = ([(&'static str, String); N], u64);

/// The decisions by the policies of all namespaces.
#[derive(Debug)]
struct TailMetrics(Control);

impl Control {
    /// Registers the metrics, under `spoor_control_`.
    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
        registry.register_collector(Box::new(TailMetrics(self.clone())));
    }

    /// All decisions by each policy that has any.
    fn tail_decisions(&self) -> Vec<(Namespace, PolicyName, TailDecisions)> {
        let samplers = self.0.samplers.all().into_iter();
        let decisions = samplers.flat_map(|samplers| {
            let totals = samplers.state().totals();
            let namespace = samplers.namespace().clone();
            let totals = totals.into_iter();
            totals.map(move |(policy, total)| (namespace.clone(), policy, total))
        });
        decisions.collect()
    }
}

impl Collector for TailMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let policies = self.0.tail_decisions();
        let of_policies = |count: fn(&TailDecisions) -> u64| -> Vec<Labelled<2>> {
            let counts = policies.iter();
            counts
                .map(|(namespace, policy, total)| (labels(namespace, policy), count(total)))
                .collect()
        };
        let name = "spoor_control_tail_policy_traces_decided";
        let help = "Traces that samplers decided on, by policy";
        counters(
            &mut encoder,
            name,
            help,
            &of_policies(TailDecisions::decided),
        )?;
        let name = "spoor_control_tail_policy_traces_unmatched";
        let help = "Traces that none of the policy's rules matched";
        counters(&mut encoder, name, help, &of_policies(|it| it.unmatched))?;
        let name = "spoor_control_tail_policy_traces_unmatched_kept";
        let help = "Traces that none of the policy's rules matched and that were kept nevertheless";
        let unmatched_kept = of_policies(|it| it.unmatched_kept);
        counters(&mut encoder, name, help, &unmatched_kept)?;
        let rules = policies.iter().flat_map(|(namespace, policy, total)| {
            total.by_rule.iter().map(move |(rule, kept)| {
                let [namespace, policy] = labels(namespace, policy);
                ([namespace, policy, ("rule", rule.to_string())], *kept)
            })
        });
        let rules: Vec<Labelled<3>> = rules.collect();
        let name = "spoor_control_tail_rule_traces_kept";
        let help = "Traces that samplers kept because of a rule";
        counters(&mut encoder, name, help, &rules)
    }
}

fn labels(namespace: &Namespace, policy: &PolicyName) -> [(&'static str, String); 2] {
    [
        ("namespace", namespace.to_string()),
        ("policy", policy.to_string()),
    ]
}

/// Writes a counter with several values, each with its labels.
fn counters<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[Labelled<N>],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        let one = metric.encode_family(labels)?;
        ConstCounter::new(*value).encode(one)?;
    }
    Ok(())
}
