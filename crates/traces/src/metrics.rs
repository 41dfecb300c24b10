//! The metrics of pipelines and forwarders.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{Pipeline, Totals};

const PREFIX: &str = "spoor_traces";

impl Pipeline {
    /// Adds the pipeline's metrics, named `spoor_traces_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.request_counts().register(registry, PREFIX);
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

        let kept_help = "Spans stored, including those evicted since";
        metrics.totals(PREFIX, kept_help, &totals)?;

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

/// A value with the names and values of its labels.
pub(crate) type Labelled<const N: usize> = ([(&'static str, String); N], u64);

/// Writes metrics whose values are held elsewhere.
pub(crate) struct Metrics<'e, 'd>(pub(crate) &'e mut DescriptorEncoder<'d>);

impl Metrics<'_, '_> {
    /// Writes the outcomes of spans and traces, with names that begin with the prefix. `kept_help` is
    /// the help of the spans that are kept.
    pub(crate) fn totals(&mut self, prefix: &str, kept_help: &str, totals: &Totals) -> fmt::Result {
        let name = |name: &str| format!("{prefix}_{name}");
        let help = "Spans received in requests that were accepted";
        self.counter(&name("spans_received"), help, totals.received)?;
        self.counter(&name("spans_kept"), kept_help, totals.kept)?;
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
        self.counters(&name("spans_dropped"), help, "reason", &dropped)?;
        let help = "Spans waiting for their trace's decision";
        self.gauge(&name("spans_gathering"), help, None, totals.gathering)?;
        let help = "Traces waiting for their decision";
        let gathering = totals.traces_gathering;
        self.gauge(&name("traces_gathering"), help, None, gathering)?;
        let help = "Traces decided on";
        let decided = [
            ("kept", totals.traces_kept),
            ("dropped", totals.traces_dropped),
        ];
        self.counters(&name("traces_decided"), help, "decision", &decided)?;
        let help = "The time of the last decision to drop a trace; 0 before the first";
        let last = totals.last_dropped.map_or(0, Timestamp::as_second);
        let seconds = u64::try_from(last).unwrap_or(0);
        let metric = name("last_dropped_timestamp");
        self.gauge(&metric, help, Some(&Unit::Seconds), seconds)?;
        let help = "Traces decided early because the memory for gathering was full";
        let early = totals.traces_decided_early;
        self.counter(&name("traces_decided_early"), help, early)
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
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

    /// Writes a counter with several values, each with its labels.
    pub(crate) fn labelled_counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: &[Labelled<N>],
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let one = metric.encode_family(labels)?;
            ConstCounter::new(*value).encode(one)?;
        }
        Ok(())
    }

    pub(crate) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: u64,
    ) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
    }
}
