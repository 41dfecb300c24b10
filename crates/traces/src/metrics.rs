//! The pipeline's metrics.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
    },
    metrics::{MetricType, counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use crate::Pipeline;

/// The reason that a whole request was refused. The number of its spans is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// Can't be decoded or decompressed.
    BadData,
    /// Neither protobuf nor JSON, or an unknown compression.
    UnsupportedType,
    /// Larger than allowed, before or after decompression.
    TooLarge,
    /// Took too long to send.
    TimedOut,
    /// Broken off by the sender.
    Aborted,
    /// Too many bytes are being received at the same time.
    Overloaded,
    /// The pipeline is shutting down.
    ShuttingDown,
}

impl EncodeLabelValue for Refusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text = match self {
            Self::BadData => "bad_data",
            Self::UnsupportedType => "unsupported_type",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Aborted => "aborted",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
        };
        text.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: Refusal,
}

/// Counts refused requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Family<Why, Counter>);

impl Refusals {
    pub(crate) fn count(&self, reason: Refusal) {
        self.0.get_or_create(&Why { reason }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Export requests refused as a whole, by reason";
        registry.register("spoor_traces_requests_refused", help, self.0.clone());
    }
}

/// A signal other than traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    Metrics,
    Logs,
    Profiles,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Profiles => "profiles",
        }
    }
}

impl EncodeLabelValue for Signal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.name().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Which {
    signal: Signal,
}

/// Counts requests of other signals that were accepted and discarded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discarded(Family<Which, Counter>);

impl Discarded {
    pub(crate) fn count(&self, signal: Signal) {
        self.0.get_or_create(&Which { signal }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Requests of other signals, accepted and discarded";
        registry.register("spoor_traces_requests_discarded", help, self.0.clone());
    }
}

/// Reads the pipeline's state when it is scraped.
#[derive(Debug)]
pub(crate) struct PipelineCollector(Pipeline);

impl PipelineCollector {
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        Self(pipeline)
    }
}

impl Collector for PipelineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.0.totals();
        counter(
            &mut encoder,
            "spoor_traces_spans_received",
            "Spans in readable requests",
            totals.received,
        )?;
        counter(
            &mut encoder,
            "spoor_traces_spans_kept",
            "Spans that went to the store",
            totals.kept,
        )?;
        let dropped = [
            ("not_sampled", totals.not_sampled),
            ("invalid_trace_id", totals.invalid_trace_id),
            ("invalid_span_id", totals.invalid_span_id),
            ("no_room", totals.no_room),
            ("late", totals.late),
        ];
        counters(
            &mut encoder,
            "spoor_traces_spans_dropped",
            "Spans dropped, by reason",
            "reason",
            &dropped,
        )?;
        let waiting = "Spans that wait for their trace's decision";
        gauge(
            &mut encoder,
            "spoor_traces_spans_gathering",
            waiting,
            None,
            totals.gathering,
        )?;
        let waiting = "Traces that wait for their decision";
        gauge(
            &mut encoder,
            "spoor_traces_traces_gathering",
            waiting,
            None,
            totals.traces_gathering,
        )?;
        let decided = [
            ("kept", totals.traces_kept),
            ("dropped", totals.traces_dropped),
        ];
        counters(
            &mut encoder,
            "spoor_traces_traces_decided",
            "Traces decided on",
            "decision",
            &decided,
        )?;
        let early = "Traces decided on before their time, for want of memory";
        counter(
            &mut encoder,
            "spoor_traces_traces_decided_early",
            early,
            totals.traces_decided_early,
        )?;

        let held = self.0.store().occupancy();
        let bytes = Some(&Unit::Bytes);
        gauge(
            &mut encoder,
            "spoor_traces_store",
            "Memory taken by the store",
            bytes,
            held.bytes as u64,
        )?;
        let max = "Memory that the store may take";
        gauge(
            &mut encoder,
            "spoor_traces_store_max",
            max,
            bytes,
            held.max_bytes as u64,
        )?;
        gauge(
            &mut encoder,
            "spoor_traces_store_traces",
            "Traces in the store",
            None,
            held.traces as u64,
        )?;
        gauge(
            &mut encoder,
            "spoor_traces_store_spans",
            "Spans in the store",
            None,
            held.spans as u64,
        )?;
        let evicted = "Traces driven out of the store by newer ones";
        counter(
            &mut encoder,
            "spoor_traces_traces_evicted",
            evicted,
            held.evicted.traces,
        )?;
        let evicted = "Spans driven out of the store by newer ones";
        counter(
            &mut encoder,
            "spoor_traces_spans_evicted",
            evicted,
            held.evicted.spans,
        )
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    prometheus_client::metrics::counter::ConstCounter::new(value).encode(metric)
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: &[(&str, u64)],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (text, value) in values {
        let labels = [(label, *text)];
        let one = metric.encode_family(&labels)?;
        prometheus_client::metrics::counter::ConstCounter::new(*value).encode(one)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    prometheus_client::metrics::gauge::ConstGauge::new(value).encode(metric)
}
