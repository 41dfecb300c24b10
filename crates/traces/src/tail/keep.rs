//! Moves a trace from the gathering log to the output.

use super::decide::Waiting;
use crate::{
    Totals, TraceId,
    log::{Destination, Interned},
    output::Output,
};

/// Copies a trace to the output, and counts the outcomes of its spans.
pub(super) fn keep(
    (trace_id, hash): (TraceId, u64),
    note: u32,
    spans: &[Waiting<'_>],
    output: &mut impl Output,
    totals: &mut Totals,
) {
    // A store may have the trace already, if it began before the policy and the retention.
    let mut to = output.destination(trace_id, hash, note);
    let mut last = None;
    let mut interned = Interned::default();
    for (segment, span) in spans {
        let Some((new, source)) = segment.read(trace_id, span) else {
            continue;
        };
        // `Interned` caches one source of one segment.
        if last != Some((segment.serial, span.source)) {
            last = Some((segment.serial, span.source));
            interned = Interned::default();
        }
        let appended = output.append(to, &new, &source.as_new(), &mut interned);
        totals.count(&appended);
        if let Ok(at) = appended {
            to = Destination::Known(at);
        }
    }
}
