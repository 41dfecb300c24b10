//! Assembles a trace: its spans under their resources and scopes.

use bytes::Bytes;
use prost::encoding::encode_varint;

use crate::log::{CHILDREN_KEY, Log, MAX_FIELD_HEADER_BYTES, Segment, SpanEntry, TraceAt};

/// The most bytes of spans in one `ResourceSpans`, so that each fits into a gRPC message.
const MAX_RUN_BYTES: usize = 1 << 20;

/// The trace's spans in the order of their arrival, each run with one resource and scope as an
/// encoded `ResourceSpans`; `None` if they are larger than `max_bytes` together.
pub(super) fn resource_spans(log: &Log, trace: TraceAt, max_bytes: usize) -> Option<Vec<Bytes>> {
    let mut spans = Vec::new();
    let mut left = max_bytes;
    // Checked while they are collected, since a trace may have millions, and before copying, so that
    // spans beyond the bound cost no memory.
    for span in log.spans_of(trace) {
        let (_, segment, entry) = span;
        left = left.checked_sub(segment.field(entry).len())?;
        spans.push(span);
    }
    // The links lead from the last span to the first.
    spans.reverse();
    let mut batches = Vec::new();
    let same_source = |(slot, _, span): &SpanOf<'_>, (next_slot, _, next): &SpanOf<'_>| {
        slot == next_slot && span.source == next.source
    };
    for run in spans.chunk_by(same_source).flat_map(split_run) {
        let Some((_, segment, first)) = run.first() else {
            continue;
        };
        let Some(source) = segment.sources.get(first.source) else {
            continue;
        };
        let resource = source.resource.of(&segment.bytes);
        let scope = source.scope.of(&segment.bytes);
        let spans = run.iter().map(|(_, _, span)| segment.field(span));
        let scope_spans_len = scope.len() + spans.clone().map(<[u8]>::len).sum::<usize>();
        left = left.checked_sub(resource.len() + scope.len())?;
        let mut bytes =
            Vec::with_capacity(resource.len() + scope_spans_len + MAX_FIELD_HEADER_BYTES);
        bytes.extend_from_slice(resource);
        bytes.push(CHILDREN_KEY);
        encode_varint(scope_spans_len as u64, &mut bytes);
        bytes.extend_from_slice(scope);
        spans.for_each(|span| bytes.extend_from_slice(span));
        batches.push(bytes.into());
    }
    Some(batches)
}

type SpanOf<'a> = (u16, &'a Segment, &'a SpanEntry);

/// Splits a run into pieces of at most [`MAX_RUN_BYTES`], unless a single span is larger.
fn split_run<'r, 'a>(mut run: &'r [SpanOf<'a>]) -> impl Iterator<Item = &'r [SpanOf<'a>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, segment, span): &&SpanOf<'_>| {
            bytes += segment.field(span).len();
            bytes <= MAX_RUN_BYTES
        };
        let count = run.iter().take_while(fits).count().max(1);
        let (piece, rest) = run.split_at_checked(count)?;
        run = rest;
        Some(piece)
    })
}
