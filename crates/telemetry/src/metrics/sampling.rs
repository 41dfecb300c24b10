//! The sampler's decisions and the outcomes of spans, read on each scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use super::encode;
use crate::{
    batch::{DropReason, SpanCounts},
    sampler::{Decisions, Live},
};

#[derive(Debug)]
pub(super) struct Spans(pub(super) Arc<SpanCounts>);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let exported = ConstCounter::new(self.0.exported());
        let help = "Spans that the receiver accepted";
        encode(&mut encoder, "spoor_spans_exported", help, None, exported)?;
        let help = "Spans lost, by reason";
        let mut family =
            encoder.encode_descriptor("spoor_spans_dropped", help, None, MetricType::Counter)?;
        for reason in DropReason::ALL {
            let labels = [("reason", reason.to_string())];
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
        let (started, sampled) = (ConstCounter::new(started), ConstCounter::new(sampled));
        let help = "Traces started here: decisions of the sampler on root spans";
        encode(&mut encoder, "spoor_sampler_decisions", help, None, started)?;
        let help = "Traces started here that are kept";
        encode(&mut encoder, "spoor_sampler_sampled", help, None, sampled)
    }
}
