//! The pipeline's metrics.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::Pipeline;

impl Pipeline {
    /// Adds the pipeline's metrics, named `spoor_traces_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.request_counts().register(registry);
        registry.register_collector(Box::new(self.clone()));
    }
}

/// Reads the pipeline's state when it is scraped.
impl Collector for Pipeline {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Read once, so that the outcomes add up: received = kept + dropped + gathering.
        let totals = self.totals();
        let held = self.store().occupancy();
        let mut metrics = Metrics(&mut encoder);

        let help = "Spans received in requests that were accepted";
        metrics.counter("spoor_traces_spans_received", help, totals.received)?;
        let help = "Spans stored, including those evicted since";
        metrics.counter("spoor_traces_spans_kept", help, totals.kept)?;
        let help = "Spans dropped, by reason";
        let dropped = [
            ("not_sampled", totals.not_sampled),
            ("invalid_trace_id", totals.rejected.trace_id),
            ("invalid_span_id", totals.rejected.span_id),
            ("invalid_parent_span_id", totals.rejected.parent_span_id),
            ("oversized", totals.rejected.oversized),
            ("no_room", totals.no_room),
            ("late", totals.late),
        ];
        metrics.counters("spoor_traces_spans_dropped", help, "reason", &dropped)?;
        let help = "Spans waiting for their trace's decision";
        metrics.gauge("spoor_traces_spans_gathering", help, None, totals.gathering)?;
        let name = "spoor_traces_traces_gathering";
        let help = "Traces waiting for their decision";
        metrics.gauge(name, help, None, totals.traces_gathering)?;
        let help = "Traces decided on";
        let decided = [
            ("kept", totals.traces_kept),
            ("dropped", totals.traces_dropped),
        ];
        metrics.counters("spoor_traces_traces_decided", help, "decision", &decided)?;
        let name = "spoor_traces_last_dropped_timestamp";
        let help = "The time of the last decision to drop a trace; 0 before the first";
        let last = totals.last_dropped.map_or(0, Timestamp::as_second);
        let seconds = u64::try_from(last).unwrap_or(0);
        metrics.gauge(name, help, Some(&Unit::Seconds), seconds)?;
        let name = "spoor_traces_traces_decided_early";
        let help = "Traces decided early because the memory for gathering was full";
        metrics.counter(name, help, totals.traces_decided_early)?;

        let bytes = Some(&Unit::Bytes);
        let help = "Memory taken by the store";
        metrics.gauge("spoor_traces_store", help, bytes, held.bytes as u64)?;
        let help = "Upper bound on the memory of the store";
        metrics.gauge("spoor_traces_store_max", help, bytes, held.max_bytes as u64)?;
        let help = "Traces in the store";
        metrics.gauge("spoor_traces_store_traces", help, None, held.traces as u64)?;
        let help = "Spans in the store";
        metrics.gauge("spoor_traces_store_spans", help, None, held.spans as u64)?;
        let help = "Traces evicted from the store to make room for newer ones";
        metrics.counter("spoor_traces_traces_evicted", help, held.evicted.traces)?;
        let help = "Spans evicted from the store to make room for newer ones";
        metrics.counter("spoor_traces_spans_evicted", help, held.evicted.spans)
    }
}

/// Writes metrics whose values are held elsewhere.
struct Metrics<'e, 'd>(&'e mut DescriptorEncoder<'d>);

impl Metrics<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (text, value) in values {
            let labels = [(label, *text)];
            let one = metric.encode_family(&labels)?;
            ConstCounter::new(*value).encode(one)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
    }
}
