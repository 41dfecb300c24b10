//! The metrics of the `policies` role itself.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::resolution::ResolutionInputs;

/// The metrics. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct PoliciesMetrics {
    resolutions: Counter,
    resolve_duration: Histogram,
    policies: Gauge,
    instances: Gauge,
}

impl PoliciesMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            resolutions: Counter::default(),
            resolve_duration: Histogram::new([
                0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25,
            ]),
            policies: Gauge::default(),
            instances: Gauge::default(),
        };
        let help = "Resolutions of all policies; none in steady state";
        registry.register("resolutions", help, metrics.resolutions.clone());
        let (help, unit) = ("Time to resolve and publish all policies", Unit::Seconds);
        let duration = metrics.resolve_duration.clone();
        registry.register_with_unit("resolve_duration", help, unit, duration);
        registry.register("policies", "Valid policies", metrics.policies.clone());
        let help = "Pods that should apply policies";
        registry.register("expected_instances", help, metrics.instances.clone());
        metrics
    }

    pub(super) fn resolved(&self, inputs: &ResolutionInputs, took: Duration) {
        self.resolutions.inc();
        self.resolve_duration.observe(took.as_secs_f64());
        self.policies.set(as_i64(inputs.policies.len()));
        self.instances.set(as_i64(inputs.instances.len()));
    }
}

/// Converts a count to the type of gauges and of span attributes.
pub(super) fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
