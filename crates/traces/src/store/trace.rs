//! A trace as the store returns it.

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use crate::{KeepReason, TraceId};

/// A trace has more bytes than the caller allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trace is too large")]
pub struct TraceTooLarge;

/// A stored trace: a copy, which outlives its eviction.
#[derive(Clone, Debug)]
pub struct StoredTrace {
    /// Its id.
    pub id: TraceId,
    /// The reason that it was kept.
    pub kept: KeepReason,
    pub(crate) resource_spans: Vec<Bytes>,
}

impl StoredTrace {
    /// Its spans, each element an encoded `opentelemetry.proto.trace.v1.ResourceSpans` with
    /// resource, scope and spans as they came.
    #[must_use]
    pub fn resource_spans(&self) -> &[Bytes] {
        &self.resource_spans
    }

    /// The same, decoded.
    #[must_use]
    pub fn decode(&self) -> Vec<ResourceSpans> {
        // What was stored had been validated, so that nothing is left out here.
        self.resource_spans
            .iter()
            .filter_map(|bytes| ResourceSpans::decode(bytes.as_ref()).ok())
            .collect()
    }
}
