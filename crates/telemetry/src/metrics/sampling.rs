//! What the sampler decided and what became of the spans, read when somebody asks.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::{
    batch::{DropReason, SpanCounts},
    sampler::Live,
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

pub(super) struct Roots(pub(super) Arc<Live>);

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").finish_non_exhaustive()
    }
}

impl Collector for Roots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts();
        let started: u64 = counts.iter().map(|count| count.started).sum();
        let sampled: u64 = counts.iter().map(|count| count.sampled).sum();
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
