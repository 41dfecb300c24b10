//! Decisions that are delayed, since spans of the trace may be on their way.

use std::time::Instant;

use super::{TailSampler, timers::Tick};
use crate::log::TraceAt;

impl TailSampler {
    /// Delays decisions on traces that are due after this time; with `None`, none is delayed.
    pub(crate) fn set_due_until(&mut self, until: Option<Instant>) {
        self.due_until = until;
    }

    /// Postpones decisions on traces that are due before this time, which is later than now, since
    /// the input was interrupted; with `None`, no more are postponed.
    pub(crate) fn set_postponed_until(&mut self, until: Option<Instant>) {
        self.postponed_until = until.map(|until| self.timers.tick_at(until));
    }

    /// The times that a decision was postponed, which may be several for one trace.
    pub(crate) fn decisions_postponed(&self) -> u64 {
        self.decisions_postponed
    }

    /// Postpones the decision on a trace that is due at this tick, but not beyond the longest
    /// duration after its first span; returns false if it is to be decided now. Without rules every
    /// trace is kept, so there is nothing to wait for.
    pub(super) fn postpone(&mut self, at: TraceAt, due: Tick) -> bool {
        let Some(until) = self.postponed_until.filter(|_| self.is_gathering()) else {
            return false;
        };
        let latest = Tick::of_mark(self.gathering.mark(at).sampler);
        let until = until.min(latest);
        if until <= due {
            return false;
        }
        if let Some(trace) = self.gathering.trace(at) {
            trace.set_note(until.note());
        }
        self.timers.add(until, at);
        self.decisions_postponed += 1;
        true
    }
}
