//! Assembles a trace: its spans under their resources and scopes.

use bytes::Bytes;
use prost::encoding::encode_varint;

use crate::log::{CHILDREN_KEY, Log, MAX_FIELD_HEADER_BYTES, Part, Segment, SpanEntry, TraceAt};

/// The most bytes of spans in one `ResourceSpans`, so that each fits into a gRPC message.
const MAX_RUN_BYTES: usize = 1 << 20;

/// The trace's spans as encoded `ResourceSpans`; `None` if together they exceed `max_bytes`.
///
/// The spans of a segment are sorted by resource and scope, and in the order of arrival within
/// each. So neither is repeated each time that spans of another resource or scope arrived in
/// between.
pub(super) fn resource_spans(log: &Log, trace: TraceAt, max_bytes: usize) -> Option<Vec<Bytes>> {
    let mut spans = Vec::new();
    let mut left = max_bytes;
    // Checked while they are collected, since a trace may have millions, and before copying, so
    // that spans beyond the bound cost no memory.
    for span in log.spans_of(trace) {
        let (_, segment, entry) = span;
        left = left.checked_sub(segment.field(entry).len())?;
        spans.push(span);
    }
    // The links lead from the last span to the first.
    spans.reverse();
    for in_segment in spans.chunk_by_mut(|(slot, ..), (next, ..)| slot == next) {
        in_segment.sort_by_key(resource_and_source);
    }
    let same_resource = |one: &SpanOf<'_>, next: &SpanOf<'_>| {
        one.0 == next.0 && resource_and_source(one).0 == resource_and_source(next).0
    };
    let mut batches = Vec::new();
    for run in spans.chunk_by(same_resource).flat_map(split_run) {
        let Some(resource) = run
            .first()
            .map(|span| resource_and_source(span).0.of(&span.1.bytes))
        else {
            continue;
        };
        let scopes = || run.chunk_by(|(.., span), (.., next)| span.source == next.source);
        let mut len = resource.len();
        for spans in scopes() {
            len += scope_spans_len(spans) + MAX_FIELD_HEADER_BYTES;
            left = left.checked_sub(scope(spans).len())?;
        }
        left = left.checked_sub(resource.len())?;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(resource);
        for spans in scopes() {
            bytes.push(CHILDREN_KEY);
            encode_varint(scope_spans_len(spans) as u64, &mut bytes);
            bytes.extend_from_slice(scope(spans));
            for (_, segment, span) in spans {
                bytes.extend_from_slice(segment.field(span));
            }
        }
        batches.push(bytes.into());
    }
    Some(batches)
}

/// The resource and the source of a span, by which its segment's spans are sorted.
fn resource_and_source((_, segment, span): &SpanOf<'_>) -> (Part, u16) {
    let source = segment.sources.get(span.source);
    (
        source.map(|it| it.resource).unwrap_or_default(),
        span.source,
    )
}

/// The scope of spans that share it.
fn scope<'a>(spans: &[SpanOf<'a>]) -> &'a [u8] {
    let first = spans.first().and_then(|(_, segment, span)| {
        let source = segment.sources.get(span.source)?;
        Some(source.scope.of(&segment.bytes))
    });
    first.unwrap_or_default()
}

/// The length of spans that share a scope, including the scope.
fn scope_spans_len(spans: &[SpanOf<'_>]) -> usize {
    let fields = spans.iter().map(|(_, segment, span)| segment.field(span));
    scope(spans).len() + fields.map(<[u8]>::len).sum::<usize>()
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
