//! Moves a trace from the gathering log to the output.

use super::decide::WaitingSpan;
use crate::{
    Totals, TraceId,
    log::{Destination, Interned},
    output::Output,
};

/// Copies a trace to the output, and counts the outcomes of its spans.
pub(super) fn keep(
    (trace_id, hash): (TraceId, u64),
    note: u32,
    spans: &[WaitingSpan<'_>],
    output: &mut impl Output,
    totals: &mut Totals,
) {
    // A store may have the trace already, if it began before the policy was applied, or if its
    // earlier decision has been forgotten.
    let mut to = output.destination(trace_id, hash, note);
    let mut last: Option<(u64, u16)> = None;
    let mut last_resource = None;
    let mut interned = Interned::default();
    let mut buffer = Vec::new();
    for (segment, span) in spans {
        let Some((new, source)) = segment.read(trace_id, span, &mut buffer) else {
            continue;
        };
        // Evicts once for each segment, which takes a few megabytes, or 16 MiB for a long span: one
        // trace may take all the memory of the gathering log.
        if last.is_some_and(|(serial, _)| serial != segment.serial) {
            output.evict();
            // The trace may have been evicted: then the store drops its other spans as late.
            to = output.destination(trace_id, hash, note);
        }
        let resource = segment.sources.get(span.source);
        let resource = resource.map(|source| (segment.serial, source.resource));
        let shares_resource = std::mem::replace(&mut last_resource, resource) == resource;
        let source = source.as_new(shares_resource);
        // `Interned` caches one source of one segment.
        let of_span = (segment.serial, span.source);
        if last.replace(of_span) != Some(of_span) {
            interned.advance(&source);
        }
        let appended = output.append(to, &new, &source, &mut interned);
        totals.count(&appended);
        if let Ok(at) = appended {
            to = Destination::Known(at);
        }
    }
}
