//! A trace as the store returns it.

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use crate::{KeepReason, TraceId};

/// A trace is larger than the caller allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trace is too large")]
pub struct TraceTooLarge;

/// A copy of a stored trace, which remains valid after the trace is evicted.
#[derive(Clone, Debug)]
pub struct StoredTrace {
    /// Its ID.
    pub id: TraceId,
    /// The reason that it was kept.
    pub kept: KeepReason,
    /// The spans: encoded `opentelemetry.proto.trace.v1.ResourceSpans` with resource, scope and
    /// spans as received.
    pub(crate) resource_spans: Vec<Bytes>,
}

impl StoredTrace {
    /// The spans, decoded.
    #[must_use]
    pub fn decode(&self) -> Vec<ResourceSpans> {
        // Stored bytes were validated, so no element is skipped here.
        self.resource_spans
            .iter()
            .filter_map(|bytes| ResourceSpans::decode(bytes.as_ref()).ok())
            .collect()
    }
}
