//! Moves a trace from the gathering log to the store.

use super::decide::WaitingSpan;
use crate::{
    Totals, TraceId,
    log::{Destination, Interned},
    span::{NewSource, NewSpan},
    store::Writer,
};

/// Copies a trace to the store, and counts the outcomes of its spans.
pub(super) fn keep(
    (trace_id, hash): (TraceId, u64),
    note: u32,
    spans: &[WaitingSpan<'_>],
    store: &mut Writer<'_>,
    totals: &mut Totals,
) {
    // The store may have the trace already, if it began before the policy was applied, or if its
    // earlier decision has been forgotten.
    let mut to = store.destination(trace_id, hash, note);
    let mut last: Option<(u64, u16)> = None;
    let mut last_resource = None;
    let mut interned = Interned::default();
    for (segment, span) in spans {
        let (Some(source), Some(operation)) = (
            segment.sources.get(span.source),
            segment.operations.get(span.operation),
        ) else {
            continue;
        };
        let Some(service) = segment.services.get(usize::from(source.service)) else {
            continue;
        };
        // Evicts once for each segment, which takes a few megabytes, or 16 MiB for a long span: one
        // trace may take all the memory of the gathering log.
        if last.is_some_and(|(serial, _)| serial != segment.serial) {
            store.evict();
            // The trace may have been evicted: then the store drops its other spans as late.
            to = store.destination(trace_id, hash, note);
        }
        let bytes = segment.bytes.as_slice();
        let new = NewSpan {
            trace_id,
            body: segment.body(span),
            name: operation.name.of(bytes),
            kind: operation.kind,
            start: span.start,
            duration: span.duration,
            signature: span.signature,
        };
        let resource = (segment.serial, source.resource);
        let source = NewSource {
            resource: &[source.resource.of(bytes)],
            resource_hash: source.resource_hash,
            resource_bytes: source.resource.of(bytes).len(),
            shares_resource: last_resource.replace(resource) == Some(resource),
            scope: &[source.scope.of(bytes)],
            service: service.of(bytes),
            namespace: source.namespace.of(bytes),
        };
        // `Interned` caches one source of one segment.
        let of_span = (segment.serial, span.source);
        if last.replace(of_span) != Some(of_span) {
            interned.advance(&source);
        }
        let appended = store.append(to, &new, &source, &mut interned);
        totals.count(&appended);
        if let Ok(at) = appended {
            to = Destination::Known(at);
        }
    }
}
