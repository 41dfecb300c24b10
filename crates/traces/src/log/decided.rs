//! The decided traces of a log whose traces are decided one by one, in the order of their arrival.
//!
//! The spans of a decided trace are no longer needed, but its outcome is, for some time. When all
//! traces of a segment are decided, the segment is stripped of its spans and keeps only its traces.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Log, TraceAt};

/// A segment that was stripped of its spans.
#[derive(Clone, Copy, Debug)]
pub(super) struct StrippedSegment {
    pub(super) slot: u16,
    traces: usize,
    since: Instant,
}

impl Log {
    /// The oldest trace that is not decided.
    #[inline]
    pub(crate) fn oldest(&mut self) -> Option<TraceAt> {
        self.strip_decided();
        let slot = self.order.front().copied().unwrap_or(self.active_slot);
        let exists = self.decided < self.segment(slot)?.traces.len();
        exists.then(|| TraceAt::new(slot, self.decided))
    }

    /// Marks the oldest trace as decided; the caller has counted its spans. The note stays for as
    /// long as the trace is remembered.
    pub(crate) fn mark_oldest_decided(&mut self, note: u32, spans: usize) {
        let Some(at) = self.oldest() else { return };
        if let Some(trace) = self.trace(at) {
            trace.set_note(note);
        }
        self.decided += 1;
        self.spans -= spans;
    }

    /// Forgets decided traces beyond `max`, and those stripped longer than `keep_for` ago.
    pub(crate) fn forget(&mut self, max: usize, keep_for: Duration) {
        while let Some(stripped) = self.stripped.front().copied() {
            let is_too_old = || stripped.since.elapsed() >= keep_for;
            // Segments are forgotten whole: the last `max` traces are remembered, and up to a
            // segment more.
            if self.stripped_traces - stripped.traces < max && !is_too_old() {
                return;
            }
            self.stripped.pop_front();
            self.stripped_traces -= stripped.traces;
            for index in 0..stripped.traces {
                self.unindex_trace(TraceAt::new(stripped.slot, index));
            }
            if let Some(segment) = self.vacate(stripped.slot) {
                self.sealed_bytes -= segment.allocated();
            }
            self.free.push(stripped.slot);
        }
    }

    /// Seals and strips the active segment if the log has only decided traces. Otherwise they would
    /// be remembered until new traces filled the segment.
    pub(crate) fn retire(&mut self) {
        let are_decided = self.order.is_empty() && self.decided >= self.active.traces.len();
        if are_decided && self.decided > 0 && self.roll(0).is_ok() {
            self.strip_decided();
        }
    }

    fn strip_decided(&mut self) {
        while let Some(&slot) = self.order.front() {
            let traces = self.segment(slot).map_or(0, |segment| segment.traces.len());
            if self.decided < traces {
                return;
            }
            self.order.pop_front();
            self.decided = 0;
            self.strip(slot);
        }
    }

    fn strip(&mut self, slot: u16) {
        let Some(segment) = self.vacate(slot) else {
            return;
        };
        self.sealed_bytes -= segment.allocated();
        // A segment that a reader of a snapshot still holds is cloned, and freed once the reader
        // drops it.
        let mut segment = Arc::unwrap_or_clone(segment);
        let stripped = segment.strip();
        self.keep_spare(segment);
        // All its spans belonged to traces that began in earlier segments.
        if stripped.traces.is_empty() {
            self.free.push(slot);
            return;
        }
        self.stripped_traces += stripped.traces.len();
        self.stripped.push_back(StrippedSegment {
            slot,
            traces: stripped.traces.len(),
            since: Instant::now(),
        });
        self.sealed_bytes += stripped.allocated();
        if let Some(entry) = self.slots.get_mut(usize::from(slot)) {
            *entry = Some(Arc::new(stripped));
        }
    }
}
