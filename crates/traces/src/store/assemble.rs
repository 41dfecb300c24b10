//! Puts a trace's spans back under their resources and scopes.

use bytes::Bytes;

use crate::log::{Log, SPAN_FIELD, Segment, Source, SpanEntry, TraceAt, write_varint};

/// The trace's spans in the order in which they came, each run of one resource and scope an
/// encoded `ResourceSpans`.
pub(super) fn resource_spans(log: &Log, trace: TraceAt) -> Vec<Bytes> {
    let mut spans: Vec<_> = log.spans_of(trace).collect();
    spans.reverse();
    spans
        .chunk_by(|(slot, _, span), (next_slot, _, next)| {
            slot == next_slot && span.source == next.source
        })
        .filter_map(|run| {
            let (_, segment, first) = run.first()?;
            let source = segment.sources.get(first.source)?;
            Some(wrap(segment, source, run.iter().map(|(_, _, span)| *span)))
        })
        .collect()
}

fn wrap<'a>(
    segment: &Segment,
    source: &Source,
    spans: impl Iterator<Item = &'a SpanEntry> + Clone,
) -> Bytes {
    let resource = source.resource.of(&segment.bytes);
    let scope = source.scope.of(&segment.bytes);
    let scope_spans_len = scope.len()
        + spans
            .clone()
            .map(|span| segment.field(span).len())
            .sum::<usize>();
    let mut bytes = Vec::with_capacity(resource.len() + scope_spans_len + 8);
    bytes.extend_from_slice(resource);
    bytes.push(SPAN_FIELD);
    write_varint(&mut bytes, scope_spans_len);
    bytes.extend_from_slice(scope);
    for span in spans {
        bytes.extend_from_slice(segment.field(span));
    }
    bytes.into()
}
