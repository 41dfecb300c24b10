//! Removal of traces from a log one by one, in any order.
//!
//! A segment is freed once its traces and those of all older segments are removed: the spans of a
//! trace may be in any segment from its first one on. So a few traces that wait long would keep all
//! younger segments; [`Log::carry`] moves them to the end.

use std::time::Instant;

use super::{Destination, Interned, Log, Segment, SpanEntry, StoredSource, TraceAt};
use crate::{TraceId, span::NewSpan, totals::NotStored};

/// The note of a removed trace, until its segment is freed. No other trace has it.
pub(super) const REMOVED: u32 = u32::MAX;

impl Log {
    /// The trace that was added first, of those that are not removed. Frees the segments before it.
    #[inline]
    pub(crate) fn oldest(&mut self) -> Option<TraceAt> {
        loop {
            let slot = self.order.front().copied().unwrap_or(self.active_slot);
            let rest = self.segment(slot)?.traces.get(self.first_remaining..)?;
            let removed = rest.iter().take_while(|trace| trace.is_removed()).count();
            let exists = removed < rest.len();
            self.first_remaining += removed;
            if exists {
                return Some(TraceAt::new(slot, self.first_remaining));
            }
            if self.order.is_empty() {
                return None;
            }
            self.release_oldest();
            self.first_remaining = 0;
        }
    }

    /// The oldest trace, if its segment was full before this time.
    pub(crate) fn oldest_before(&mut self, time: Instant) -> Option<TraceAt> {
        let at = self.oldest()?;
        let sealed_at = self.segment(at.slot())?.sealed_at?;
        (sealed_at < time).then_some(at)
    }

    /// Removes a trace, of which the caller has counted the spans. They stay readable until another
    /// trace is added or the oldest one is asked for.
    pub(crate) fn remove(&mut self, at: TraceAt, spans: usize) {
        let Some(trace) = self.trace(at).filter(|trace| !trace.is_removed()) else {
            return;
        };
        trace.set_note(REMOVED);
        self.unindex_trace(at);
        self.spans -= spans;
    }

    /// Moves a trace to the end of the log. It keeps its note and its mark.
    ///
    /// # Errors
    /// If the log is full; then the trace stays where it is.
    pub(crate) fn carry(&mut self, at: TraceAt) -> Result<TraceAt, NotStored> {
        let mark = self.mark(at);
        let of_new = std::mem::replace(&mut self.mark, mark);
        let carried = self.move_to_end(at);
        self.mark = of_new;
        carried
    }

    fn move_to_end(&mut self, at: TraceAt) -> Result<TraceAt, NotStored> {
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
            let source = span.source();
            let source = source.as_new(false);
            let appended = self.append(to, &span.span(), &source, &mut Interned::default());
            match (appended, moved) {
                (Ok(at), _) => moved = Some(at),
                (Err(full), None) => return Err(full),
                (Err(full), Some(moved)) => {
                    let copied = self.spans_of(moved).count();
                    self.remove(moved, copied);
                    return Err(full);
                }
            }
        }
        // Both are in the index until now, and this one is removed from it.
        self.remove(at, spans.len());
        moved.ok_or(NotStored::Full)
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
    resource_hash: u64,
    scope: Vec<u8>,
    service: Vec<u8>,
    namespace: Vec<u8>,
}

impl CarriedSpan {
    fn new(trace_id: TraceId, segment: &Segment, entry: &SpanEntry) -> Option<Self> {
        let mut buffer = Vec::new();
        let (span, source) = segment.read(trace_id, entry, &mut buffer)?;
        Some(Self {
            trace_id,
            entry: *entry,
            kind: span.kind,
            body: span.body.to_vec(),
            name: span.name.to_vec(),
            resource: source.resource[0].to_vec(),
            resource_hash: source.resource_hash,
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
            start_at: 0,
        }
    }

    fn source(&self) -> StoredSource<'_> {
        StoredSource {
            resource: [self.resource.as_slice()],
            resource_hash: self.resource_hash,
            scope: [self.scope.as_slice()],
            service: &self.service,
            namespace: &self.namespace,
        }
    }
}
