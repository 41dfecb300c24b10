//! The metrics of the `stacks` role itself.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// The metrics. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct StacksMetrics {
    reconciles: Counter,
    reconcile_duration: Histogram,
    pub(super) stacks: Gauge,
}

impl StacksMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Counter::default(),
            reconcile_duration: Histogram::new([0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0, 5.0, 20.0]),
            stacks: Gauge::default(),
        };
        let help = "Reconciliations of a stack; in steady state only resyncs";
        registry.register("reconciles", help, metrics.reconciles.clone());
        let (help, unit) = ("Time to reconcile a stack", Unit::Seconds);
        let duration = metrics.reconcile_duration.clone();
        registry.register_with_unit("reconcile_duration", help, unit, duration);
        let help = "TracingStacks in the namespaces that are watched";
        registry.register("stacks", help, metrics.stacks.clone());
        metrics
    }

    pub(super) fn reconciled(&self, took: Duration) {
        self.reconciles.inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }
}
