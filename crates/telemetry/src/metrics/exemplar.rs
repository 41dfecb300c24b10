//! Exemplars, which lead from a histogram's bucket to a trace.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

/// A sampled request, with the names of OpenTelemetry's Prometheus compatibility document. The IDs
/// are converted to text only for a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exemplar {
    trace: TraceId,
    span: SpanId,
}

impl Exemplar {
    /// `None` for a request that is not sampled, whose trace does not exist.
    pub(super) fn of(span: &SpanContext) -> Option<Self> {
        // A remote span is the caller's; this request has none of its own.
        (span.is_sampled() && !span.is_remote()).then(|| Self {
            trace: span.trace_id(),
            span: span.span_id(),
        })
    }
}

impl EncodeLabelSet for Exemplar {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        [
            ("trace_id", self.trace.to_string()),
            ("span_id", self.span.to_string()),
        ]
        .encode(encoder)
    }
}
