//! Settling: for a log whose traces are removed one by one, in any order.
//!
//! The spans of a settled trace are no longer needed. A segment is freed once its traces and those
//! of all older segments are settled: the spans of a trace may be in any segment from its first one
//! on. So a few traces that wait for long would keep all younger segments; [`Log::carry`] moves
//! them to the end.

use std::time::Instant;

use super::{Destination, Full, Interned, Log, Segment, SpanEntry, TraceAt, segment::StoredSource};
use crate::{TraceId, span::NewSpan};

/// The note of a settled trace, until its segment is freed. No other trace has it.
pub(super) const SETTLED: u32 = u32::MAX;

impl Log {
    /// The trace that was added first, of those that are not settled.
    #[inline]
    pub(crate) fn oldest(&mut self) -> Option<TraceAt> {
        self.release_settled();
        let slot = self.order.front().copied().unwrap_or(self.active_slot);
        let segment = self.segment(slot)?;
        let rest = segment.traces.get(self.first_unsettled..)?;
        let settled = rest.iter().take_while(|trace| trace.is_settled()).count();
        let at = self.first_unsettled + settled;
        let exists = settled < rest.len();
        self.first_unsettled = at;
        exists.then(|| TraceAt::new(slot, at))
    }

    /// The oldest trace, if its segment was full before this time.
    pub(crate) fn oldest_before(&mut self, time: Instant) -> Option<TraceAt> {
        let at = self.oldest()?;
        let sealed_at = self.segment(at.slot())?.sealed_at?;
        (sealed_at < time).then_some(at)
    }

    /// Removes a trace, of which the caller has counted the spans. They stay readable until another
    /// trace is added or the oldest one is asked for.
    pub(crate) fn settle(&mut self, at: TraceAt, spans: usize) {
        let Some(trace) = self.trace(at).filter(|trace| !trace.is_settled()) else {
            return;
        };
        trace.set_note(SETTLED);
        if let Some(segment) = self.segment(at.slot()) {
            segment.settle_one();
        }
        self.unindex_trace(at);
        self.spans -= spans;
    }

    /// Moves a trace to the end of the log.
    ///
    /// # Errors
    /// If the log is full; then the trace stays where it is.
    pub(crate) fn carry(&mut self, at: TraceAt) -> Result<TraceAt, Full> {
        let Some((id, note)) = self.trace(at).map(|trace| (trace.id, trace.note())) else {
            return Ok(at);
        };
        let spans = self.spans_of(at);
        let mut spans: Vec<_> = spans
            .filter_map(|(_, segment, span)| CarriedSpan::new(id, segment, span))
            .collect();
        spans.reverse();
        let hash = self.hasher.hash(id);
        let mut moved = None;
        for span in &spans {
            let to = moved.map_or(Destination::New { hash, note }, Destination::Known);
            let appended = self.append(
                to,
                &span.span(),
                &span.source().as_new(),
                &mut Interned::default(),
            );
            match (appended, moved) {
                (Ok(at), _) => moved = Some(at),
                (Err(full), None) => return Err(full),
                (Err(full), Some(moved)) => {
                    let copied = self.spans_of(moved).count();
                    self.settle(moved, copied);
                    return Err(full);
                }
            }
        }
        // Both are in the index until now, and settling removes this one.
        self.settle(at, spans.len());
        moved.ok_or(Full)
    }

    /// Frees the segments at the front whose traces are settled.
    fn release_settled(&mut self) {
        while let Some(slot) = self.order.front().copied()
            && self.segment(slot).is_some_and(Segment::is_settled)
        {
            self.release_oldest();
            self.first_unsettled = 0;
        }
    }
}

/// A copy of a span, while it is moved within its log.
struct CarriedSpan {
    trace_id: TraceId,
    entry: SpanEntry,
    kind: u8,
    body: Vec<u8>,
    name: Vec<u8>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    service: Vec<u8>,
    namespace: Vec<u8>,
}

impl CarriedSpan {
    fn new(trace_id: TraceId, segment: &Segment, entry: &SpanEntry) -> Option<Self> {
        let (span, source) = segment.read(trace_id, entry)?;
        Some(Self {
            trace_id,
            entry: *entry,
            kind: span.kind,
            body: span.body.to_vec(),
            name: span.name.to_vec(),
            resource: source.resource[0].to_vec(),
            scope: source.scope[0].to_vec(),
            service: source.service.to_vec(),
            namespace: source.namespace.to_vec(),
        })
    }

    fn span(&self) -> NewSpan<'_> {
        NewSpan {
            trace_id: self.trace_id,
            body: &self.body,
            name: &self.name,
            kind: self.kind,
            start: self.entry.start,
            duration: self.entry.duration,
            signature: self.entry.signature,
        }
    }

    fn source(&self) -> StoredSource<'_> {
        StoredSource {
            resource: [self.resource.as_slice()],
            scope: [self.scope.as_slice()],
            service: &self.service,
            namespace: &self.namespace,
        }
    }
}
