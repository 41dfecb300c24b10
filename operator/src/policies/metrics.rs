//! What is counted about the role itself.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::resolution::ResolutionInputs;

/// Counters and their like; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    resolutions: Counter,
    resolving: Histogram,
    policies: Gauge,
    instances: Gauge,
    pub(super) leader: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            resolutions: Counter::default(),
            resolving: Histogram::new([0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25]),
            policies: Gauge::default(),
            instances: Gauge::default(),
            leader: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("spoor_operator");
        registry.register(
            "resolutions",
            "Times that all policies were resolved anew: never while nothing changes",
            metrics.resolutions.clone(),
        );
        registry.register_with_unit(
            "resolving",
            "From what the watches know to what the listeners serve",
            Unit::Seconds,
            metrics.resolving.clone(),
        );
        registry.register(
            "policies",
            "Policies that are valid",
            metrics.policies.clone(),
        );
        registry.register(
            "expected_instances",
            "Pods that should take policies",
            metrics.instances.clone(),
        );
        registry.register(
            "leader",
            "Whether this replica leads",
            metrics.leader.clone(),
        );
        metrics
    }

    pub(super) fn resolved(&self, took: Duration) {
        self.resolutions.inc();
        self.resolving.observe(took.as_secs_f64());
    }

    pub(super) fn count(&self, inputs: &ResolutionInputs) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.policies.set(count(inputs.policies.len()));
        self.instances.set(count(inputs.instances.len()));
    }
}
