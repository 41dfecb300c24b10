//! The sampler's decisions and the outcomes of spans, read on each scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::{
    batch::{DropReason, SpanCounts},
    sampler::{Decisions, Live},
};

#[derive(Debug)]
pub(super) struct Spans(pub(super) Arc<SpanCounts>);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        ConstCounter::new(self.0.exported()).encode(encoder.encode_descriptor(
            "spoor_spans_exported",
            "Spans that the receiver accepted",
            None,
            MetricType::Counter,
        )?)?;
        let mut family = encoder.encode_descriptor(
            "spoor_spans_dropped",
            "Spans lost, by reason",
            None,
            MetricType::Counter,
        )?;
        for reason in DropReason::ALL {
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(self.0.dropped(reason)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Roots(pub(super) Arc<Live>);

impl Collector for Roots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Decisions { started, sampled } = self.0.decisions();
        ConstCounter::new(started).encode(encoder.encode_descriptor(
            "spoor_sampler_decisions",
            "Traces started here: decisions of the sampler on root spans",
            None,
            MetricType::Counter,
        )?)?;
        ConstCounter::new(sampled).encode(encoder.encode_descriptor(
            "spoor_sampler_sampled",
            "Traces started here that are kept",
            None,
            MetricType::Counter,
        )?)
    }
}
