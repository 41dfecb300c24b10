//! For a log whose traces are settled one by one, in the order in which they came.
//!
//! A settled trace's spans are of no use any more, but what it was settled to is, for a while:
//! when all traces of a segment are settled it becomes a husk, which has only its traces.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Log, TraceAt};

/// A segment without spans.
#[derive(Clone, Copy, Debug)]
pub(super) struct Husk {
    slot: u16,
    traces: usize,
    since: Instant,
}

impl Husk {
    pub(super) fn slot(&self) -> u16 {
        self.slot
    }
}

impl Log {
    /// The trace that came first among those not settled.
    #[inline]
    pub(crate) fn oldest(&mut self) -> Option<TraceAt> {
        self.strip_settled();
        let slot = self.order.front().copied().unwrap_or(self.active_slot);
        let is_there = self.settled < self.segment(slot)?.traces.len();
        is_there.then(|| TraceAt::new(slot, self.settled))
    }

    /// Settles that trace; the caller knows how many spans it has. The note stays for as long as
    /// the trace is remembered.
    pub(crate) fn settle_oldest(&mut self, note: u32, spans: usize) {
        let Some(at) = self.oldest() else { return };
        if let Some(trace) = self.trace(at) {
            trace.set_note(note);
        }
        self.settled += 1;
        self.spans -= spans;
    }

    /// Forgets settled traces beyond a number, and those that have been husks for too long.
    pub(crate) fn forget(&mut self, max: usize, keep_for: Duration) {
        while let Some(husk) = self.husks.front().copied() {
            let is_too_old = || husk.since.elapsed() >= keep_for;
            if self.husk_traces - husk.traces < max && !is_too_old() {
                return;
            }
            self.husks.pop_front();
            self.husk_traces -= husk.traces;
            for index in 0..husk.traces {
                self.unlist(TraceAt::new(husk.slot, index));
            }
            if let Some(segment) = self.vacate(husk.slot) {
                self.sealed_bytes -= segment.allocated();
            }
            self.free.push(husk.slot);
        }
    }

    /// Makes a husk of the segment that is being written, if there are only settled traces in
    /// the log. Otherwise they would be remembered until as many others have come.
    pub(crate) fn retire(&mut self) {
        let is_settled = self.order.is_empty() && self.settled >= self.active.traces.len();
        if is_settled && self.settled > 0 && self.roll(0).is_ok() {
            self.strip_settled();
        }
    }

    fn strip_settled(&mut self) {
        while let Some(&slot) = self.order.front() {
            let traces = self.segment(slot).map_or(0, |segment| segment.traces.len());
            if self.settled < traces {
                return;
            }
            self.order.pop_front();
            self.settled = 0;
            self.strip(slot);
        }
    }

    fn strip(&mut self, slot: u16) {
        let Some(segment) = self.vacate(slot) else {
            return;
        };
        self.sealed_bytes -= segment.allocated();
        // Nothing else has it: such a log is not searched.
        let Ok(mut segment) = Arc::try_unwrap(segment) else {
            return;
        };
        let husk = segment.strip();
        self.spare(segment);
        if husk.traces.is_empty() {
            self.free.push(slot);
            return;
        }
        self.husk_traces += husk.traces.len();
        self.husks.push_back(Husk {
            slot,
            traces: husk.traces.len(),
            since: Instant::now(),
        });
        self.sealed_bytes += husk.allocated();
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = Some(Arc::new(husk));
        }
    }
}
