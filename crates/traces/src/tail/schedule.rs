//! The moments at which traces are decided: when they are due, early, and all at a shutdown.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use spoor_policy::TailTable;

use super::{
    Decision, TailSampler,
    decide::{Decided, ResourceRules, WaitingSpan, decide, follow_or_decide},
    keep::keep,
};
use crate::{
    TraceId,
    log::{TraceAt, TraceEntry},
    output::Output,
};

/// The longest time for which one call makes decisions, since others wait for the lock, some of
/// them on asynchronous threads. Traces may be large and rules many, so a limit on the number of
/// decisions would not bound the time.
const MAX_DECISION_TIME: Duration = Duration::from_millis(10);
/// Traces that still wait this many decision waits after their segment was full are carried to the
/// end of the log, so that the segment can be freed.
const MAX_SEGMENT_WAITS: u32 = 2;
/// The traces that are loaded into the processor's cache together before they are decided.
const LOADED_TOGETHER: usize = 16;

impl TailSampler {
    /// Decides on at most `max` traces whose wait is over, including that for the spans of peers,
    /// or postpones the decision, for at most [`MAX_DECISION_TIME`]; returns whether there are more.
    pub(crate) fn decide_due(
        &mut self,
        now: Instant,
        max: usize,
        output: &mut impl Output,
    ) -> bool {
        if self.due_from.is_some_and(|from| now < from) {
            return false;
        }
        let started = Instant::now();
        self.decisions.forget(now);
        let mut left = max;
        let until = self.due_until.map_or(now, |until| until.min(now));
        let mut loaded = 0;
        while let Some((due, at)) = self.timers.next_due(until) {
            if loaded == 0 {
                self.load_next();
                loaded = LOADED_TOGETHER;
            }
            loaded -= 1;
            let is_current = |trace: &TraceEntry| trace.note() == due.note();
            if !self.gathering.trace(at).is_some_and(is_current) {
                continue;
            }
            if !self.postpone(at, due) {
                self.decide(at, now, output);
            }
            left = left.saturating_sub(1);
            if left == 0 || started.elapsed() > MAX_DECISION_TIME {
                return true;
            }
        }
        self.carry_slow(now, started)
    }

    /// Reads what the next decisions need, which only warms the processor's cache. Traces that
    /// waited are not in it, and each of their spans points to the one before: a decision alone
    /// would wait for one cache miss after another.
    fn load_next(&self) {
        let next = self.timers.upcoming(LOADED_TOGETHER);
        let traces = next.iter().filter_map(|at| self.gathering.trace(*at));
        let ids = traces.map(|trace| trace.id);
        self.hasher.hash_all(ids, |id, hash| {
            self.decisions.find(hash).is_some() || self.gathering.find(id, hash).is_some()
        });
        self.gathering.load_spans(next);
    }

    /// Carries traces that wait for long to the end of the log, which frees the segments in which
    /// they began; returns whether there are more.
    fn carry_slow(&mut self, now: Instant, started: Instant) -> bool {
        let age = self.settings.decision_wait * MAX_SEGMENT_WAITS;
        let Some(before) = now.checked_sub(age) else {
            return false;
        };
        while let Some(at) = self.gathering.oldest_before(before) {
            if started.elapsed() > MAX_DECISION_TIME {
                return true;
            }
            // In a full log, the bound on memory determines when the traces are decided.
            let Ok(carried) = self.gathering.carry(at) else {
                return false;
            };
            let note = self.gathering.trace(carried).map_or(0, TraceEntry::note);
            let due = self.timers.tick_at(now).of_note(note);
            self.timers.add(due, carried);
        }
        false
    }

    /// Decides on waiting traces for at most [`MAX_DECISION_TIME`]; returns whether there may be
    /// more.
    pub(crate) fn decide_waiting(&mut self, output: &mut impl Output) -> bool {
        let started = Instant::now();
        while started.elapsed() <= MAX_DECISION_TIME {
            if !self.decide_oldest(started, output) {
                // All traces that have an entry are decided.
                self.timers.clear();
                return false;
            }
        }
        true
    }

    /// Returns whether requests for which there is no room are refused at once. Early decisions for
    /// each of them would leave no time for anything else.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refused_bytes.is_some()
    }

    /// Records that a request of this length was refused for lack of room.
    pub(crate) fn record_refusal(&mut self, bytes: usize) {
        self.refused_bytes = self.refused_bytes.max(Some(bytes));
    }

    /// Makes room for the longest refused request, as [`Self::decide_early`] does; returns true if
    /// there is still none and there may be traces left to decide on.
    pub(crate) fn decide_for_refused(&mut self, output: &mut impl Output) -> bool {
        let refused = self.refused_bytes.take();
        let is_over = self.decide_early(refused.unwrap_or(0), output);
        if is_over {
            self.refused_bytes = refused;
        }
        is_over
    }

    /// Decides on the oldest traces while the waiting ones and `more` bytes exceed the memory
    /// bound, for at most [`MAX_DECISION_TIME`], or not at all while requests are refused; returns
    /// true if they still do and there may be traces left to decide on.
    pub(crate) fn decide_early(&mut self, more: usize, output: &mut impl Output) -> bool {
        let started = Instant::now();
        let max_time = match self.is_refusing() {
            true => Duration::ZERO,
            false => MAX_DECISION_TIME,
        };
        // A decision frees nothing by itself: memory is freed when a segment's last trace is
        // decided.
        while self.allocated() + more > self.settings.max_bytes {
            if started.elapsed() >= max_time {
                return true;
            }
            if !self.decide_oldest(started, output) {
                return false;
            }
            self.totals.traces_decided_early += 1;
        }
        false
    }

    /// The memory of the waiting traces and of the decisions, in bytes.
    fn allocated(&self) -> usize {
        self.gathering.allocated() + self.decisions.allocated()
    }

    /// Decides on the oldest waiting trace; returns false if there is none.
    fn decide_oldest(&mut self, now: Instant, output: &mut impl Output) -> bool {
        let oldest = self.gathering.oldest();
        if let Some(at) = oldest {
            self.decide(at, now, output);
        }
        oldest.is_some()
    }

    /// Decides on a trace by the table in force.
    fn decide(&mut self, at: TraceAt, now: Instant, output: &mut impl Output) {
        match self.follows_decisions {
            true => self.decide_by(at, now, output, follow_or_decide),
            false => self.decide_by(at, now, output, decide),
        }
    }

    /// Decides on a trace by a function of the table in force.
    pub(super) fn decide_by(
        &mut self,
        at: TraceAt,
        now: Instant,
        output: &mut impl Output,
        decide: impl for<'t> FnOnce(
            &'t TailTable,
            &mut ResourceRules,
            TraceId,
            &[WaitingSpan<'_>],
        ) -> Decided<'t>,
    ) {
        let Some(id) = self.gathering.trace(at).map(|trace| trace.id) else {
            return;
        };
        let hash = self.hasher.hash(id);
        let mark = self.gathering.mark(at).output;
        let spans = self.gathering.spans_of(at);
        let mut spans: Vec<WaitingSpan<'_>> =
            spans.map(|(_, segment, span)| (segment, span)).collect();
        spans.reverse();
        let count = spans.len();
        let decided = decide(&self.table, &mut self.resource_rules, id, &spans);
        if let Some(policy) = decided.policy {
            self.counts.count(policy, decided.kept.as_ref(), count);
        }
        let decision = match decided.kept {
            Some(kept) => {
                let reason = output.record_reason(&kept);
                output.decide(id, Decision::Kept(reason), mark);
                keep((id, hash), reason, &spans, output, &mut self.totals);
                self.totals.traces_kept += 1;
                Decision::Kept(reason)
            }
            None => {
                output.decide(id, Decision::Dropped, mark);
                self.totals.not_sampled += count as u64;
                self.totals.traces_dropped += 1;
                self.totals.last_dropped = Some(Timestamp::now());
                Decision::Dropped
            }
        };
        self.gathering.remove(at, count);
        self.decisions.remember(hash, decision, now);
    }
}
