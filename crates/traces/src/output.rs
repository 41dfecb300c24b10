//! The destination of the spans that the tail sampler keeps.

use crate::{
    KeepReason, Totals, TraceId,
    log::{Destination, Interned},
    scan::Scanned,
    span::{NewSource, NewSpan},
    tail::Decision,
    totals::NotStored,
};

/// The store of a lab, or the batches of a forwarder. Used under the tail sampler's lock.
pub(crate) trait Output {
    /// A trace in the output.
    type Trace: Copy;

    /// Records a reason, and returns its number, which traces have as their note.
    fn record_reason(&mut self, kept: &KeepReason) -> u32;

    /// Finds a trace in the output.
    fn find(&self, id: TraceId, hash: u64) -> Option<Self::Trace>;

    /// The trace of this ID, or a new one with this note.
    fn destination(&self, id: TraceId, hash: u64, note: u32) -> Destination<Self::Trace>;

    /// The destination of a trace that is passed straight on.
    fn pass_to(&self, id: TraceId, hash: u64, note: u32) -> Destination<Self::Trace> {
        self.destination(id, hash, note)
    }

    /// Appends a span; returns its trace.
    fn append(
        &mut self,
        to: Destination<Self::Trace>,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) -> Result<Self::Trace, NotStored>;

    /// Accepts a request: appends all its spans, and counts their outcomes.
    fn accept(&mut self, scanned: &Scanned<'_>, note: u32, totals: &mut Totals);

    /// Drops the oldest traces while the output is over its bound. No trace found before is
    /// valid afterwards.
    fn evict(&mut self);

    /// Returns whether traces may be decided while a request is accepted, also between its spans.
    fn may_decide_within_request(&self) -> bool {
        true
    }

    /// The mark of the traces of a request that begin to wait, until their decision.
    fn mark(&self) -> u64 {
        0
    }

    /// Called when a trace begins to wait, with the present mark.
    fn wait(&mut self) {}

    /// Called when a waiting trace with this mark is decided, before its spans are appended.
    fn decide(&mut self, _id: TraceId, _decision: Decision, _mark: u64) {}
}
