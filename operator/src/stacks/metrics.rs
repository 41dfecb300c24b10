//! What is counted about the role itself.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Counters and their like; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    reconciles: Counter,
    reconciling: Histogram,
    pub(super) stacks: Gauge,
    pub(super) leader: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Counter::default(),
            reconciling: Histogram::new([0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0, 5.0, 20.0]),
            stacks: Gauge::default(),
            leader: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("spoor_operator");
        registry.register(
            "reconciles",
            "Times that a stack was looked after: only the resync while nothing changes",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconciling",
            "From a stack as it is to its objects and its status",
            Unit::Seconds,
            metrics.reconciling.clone(),
        );
        registry.register(
            "stacks",
            "Stacks that are looked after",
            metrics.stacks.clone(),
        );
        registry.register(
            "leader",
            "Whether this replica leads",
            metrics.leader.clone(),
        );
        metrics
    }

    pub(super) fn reconciled(&self, took: Duration) {
        self.reconciles.inc();
        self.reconciling.observe(took.as_secs_f64());
    }
}
