//! A span on the path from a request to a log.

use crate::TraceId;

/// A span to append to a log: one of a request, or one of a trace that was decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewSpan<'a> {
    pub(crate) trace_id: TraceId,
    /// The encoded `Span`.
    pub(crate) body: &'a [u8],
    pub(crate) name: &'a [u8],
    /// The number of the `SpanKind`; 0 if it is unknown.
    pub(crate) kind: u8,
    /// In nanoseconds since 1970.
    pub(crate) start: u64,
    /// In nanoseconds; 0 if it ends before its start.
    pub(crate) duration: u64,
    pub(crate) signature: Signature,
    /// The position of the start's field in the body; zero if it is not known.
    pub(crate) start_at: u32,
}

/// A resource and a scope, to append to a log with a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewSource<'a> {
    /// A `ResourceSpans` without its scopes, in pieces.
    pub(crate) resource: &'a [&'a [u8]],
    /// The [`resource_hash`](crate::hash::resource_hash) of the resource. A request may have
    /// hundreds of thousands of scopes under one resource, so it is computed once, like the length.
    pub(crate) resource_hash: u64,
    pub(crate) resource_bytes: usize,
    /// True if the source before it, in the request or the trace, has the same resource.
    pub(crate) shares_resource: bool,
    /// A `ScopeSpans` without its spans, in pieces.
    pub(crate) scope: &'a [&'a [u8]],
    /// `service.name`.
    pub(crate) service: &'a [u8],
    /// The namespace in which policies are resolved.
    pub(crate) namespace: &'a [u8],
}

impl NewSource<'_> {
    /// The bytes that the source takes in a segment that has neither it nor its resource.
    pub(crate) fn max_bytes(&self) -> usize {
        self.resource_bytes + self.scope_bytes() + self.service.len() + self.namespace.len()
    }

    pub(crate) fn scope_bytes(&self) -> usize {
        self.scope.iter().map(|piece| piece.len()).sum()
    }
}

/// A small Bloom filter over the attributes of a span and its events, and three flags of the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature(u64);

impl Signature {
    /// The span has the status error.
    pub(crate) const ERROR: Self = Self(1 << 63);
    /// The span has no parent.
    pub(crate) const ROOT: Self = Self(1 << 62);
    /// The span has a `tracestate`.
    pub(crate) const TRACE_STATE: Self = Self(1 << 61);
    const FILTER_BITS: u64 = 61;

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The two bits of the filter that an attribute's hash selects.
    #[inline]
    pub(crate) fn of_hash(hash: u64) -> Self {
        let bit = |half: u64| 1 << ((half * Self::FILTER_BITS) >> 32);
        Self(bit(hash & 0xffff_ffff) | bit(hash >> 32))
    }
}
