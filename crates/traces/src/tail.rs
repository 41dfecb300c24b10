//! Gathers traces and decides on each once, whole.
//!
//! Invariants, each under the sampler's lock:
//! - A trace that was ever gathered waits in the gathering log, or is in the table of decisions,
//!   which its late spans follow. Only a trace that is in neither of them nor in the store is new.
//! - A new trace is gathered if a tail policy is in force. Otherwise it goes to the store
//!   immediately: that is its decision, which a later policy does not undo.
//! - A waiting trace is decided once, by the table in force at that time, even an empty one.
//!
//! So each trace is decided once and whole for as long as its decision is remembered: ten minutes,
//! for at most [`TailSettings::max_remembered_decisions`] traces. A trace that went to the store
//! immediately is recognised there.
//!
//! A trace is due [`TailSettings::decision_wait`] after its root, which usually ends last, and at
//! the latest [`TailSettings::max_trace_duration`] after its first span.

mod counts;
mod decide;
mod decisions;
mod keep;
mod randomness;
mod replay;
mod timers;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use spoor_policy::{PolicyKey, TailTable, Version};

use crate::{
    KeepReason, TailSettings, Totals, TraceId,
    log::{Destination, IdHasher, Interned, Log, Snapshot, TraceAt, TraceEntry},
    output::Output,
    scan::Scanned,
    span::{NewSource, NewSpan, Signature},
    store::SPANS_BETWEEN_EVICTIONS,
    totals::NotStored,
};
use counts::Counts;
pub use counts::{PolicyDecisions, TailCount};
use decide::{Decided, Waiting, decide};
pub(crate) use decisions::{Decision, Decisions};
use keep::keep;
pub(crate) use randomness::Head;
use timers::{Tick, Timers};

/// Routes spans: into the gathering log, into the store, or nowhere.
pub(crate) struct TailSampler {
    settings: TailSettings,
    hasher: IdHasher,
    table: TailTable,
    /// The traces that wait, each with the tick at which it is due as its note.
    gathering: Log,
    timers: Timers,
    decisions: Decisions,
    counts: Counts,
    /// The last time that a trace went to the store without waiting.
    last_kept_immediately: Option<Instant>,
    totals: Totals,
}

/// The longest that decisions are made before others get the lock. Traces may be large and rules
/// many, so a number of decisions would not bound the time; asynchronous threads wait for the lock.
const MAX_DECISION_TIME: Duration = Duration::from_millis(10);
/// The time that decisions are remembered.
pub(crate) const DECISION_RETENTION: Duration = Duration::from_secs(600);
/// The memory of one remembered decision, with the free slots of its table. All together take at
/// most a quarter of the bound.
const BYTES_PER_DECISION: usize = 21;
/// The segments of traces that wait for more than this many times the decision wait are freed, and
/// these traces carried to the end of the log.
const MAX_SEGMENT_WAITS: u32 = 2;

impl TailSampler {
    pub(crate) fn new(mut settings: TailSettings, hasher: IdHasher) -> Self {
        settings.max_remembered_decisions = settings
            .max_remembered_decisions
            .min(settings.max_bytes / 4 / BYTES_PER_DECISION);
        Self {
            gathering: Log::new(settings.max_bytes, hasher.clone()),
            timers: Timers::new(),
            decisions: Decisions::new(settings.max_remembered_decisions, DECISION_RETENTION),
            counts: Counts::default(),
            hasher,
            settings,
            table: TailTable::default(),
            last_kept_immediately: None,
            totals: Totals::default(),
        }
    }

    /// Replaces the table for all later decisions.
    pub(crate) fn set_table(&mut self, table: TailTable) {
        self.table = table;
    }

    /// As [`Self::set_table`], and counts the decisions by these rules under their version.
    pub(crate) fn set_counted_table(&mut self, version: Version, table: TailTable) {
        self.counts.begin(version);
        self.set_table(table);
    }

    /// The decisions by the rules of the latest versions.
    pub(crate) fn counts(&self) -> Vec<TailCount> {
        self.counts.by_version()
    }

    /// The decisions of each policy, over all versions.
    pub(crate) fn decisions_by_policy(&self) -> Vec<(PolicyKey, PolicyDecisions)> {
        self.counts.by_policy()
    }

    /// Returns whether new traces are gathered, or else passed straight on.
    pub(crate) fn is_gathering(&self) -> bool {
        !self.table.is_empty()
    }

    /// The traces that wait.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.gathering.snapshot()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            gathering: self.gathering.spans() as u64,
            traces_gathering: self.gathering.len() as u64,
            ..self.totals
        }
    }

    /// Accepts a request: appends each span to the log that has its trace, or drops it. Returns
    /// whether the waiting traces exceed the memory bound, as [`Self::decide_early`] does.
    pub(crate) fn accept(
        &mut self,
        scanned: &Scanned<'_>,
        now: Instant,
        output: &mut impl Output,
    ) -> bool {
        let before = self.gathering.len();
        if !self.add(scanned, self.is_gathering(), now, output) {
            return false;
        }
        // Twice as many as have begun, so that due traces do not pile up between ticks.
        let begun = self.gathering.len().saturating_sub(before);
        self.decide_due(now, begun * 2 + 8, output);
        self.decide_early(output)
    }

    /// Routes the spans of a request. Returns whether the request was routed by trace, and not to
    /// the output as a whole.
    fn add(
        &mut self,
        scanned: &Scanned<'_>,
        is_gathering: bool,
        now: Instant,
        output: &mut impl Output,
    ) -> bool {
        let count = scanned.spans.len() as u64;
        self.totals.received += count + scanned.rejected.total();
        self.totals.rejected += scanned.rejected;
        if !is_gathering {
            // A policy that is applied within a minute finds these traces in the store, and does
            // not gather them.
            self.last_kept_immediately = Some(now);
            if self.gathering.len() == 0 && self.decisions.is_empty() {
                let note = output.note(&KeepReason::NoPolicy);
                output.accept(scanned, note, &mut self.totals);
                return false;
            }
        }
        self.append_all(scanned, is_gathering, now, output);
        true
    }

    /// Decides on at most `max` traces whose wait is over, for at most [`MAX_DECISION_TIME`]; returns
    /// whether there are more.
    pub(crate) fn decide_due(
        &mut self,
        now: Instant,
        max: usize,
        output: &mut impl Output,
    ) -> bool {
        let started = Instant::now();
        self.decisions.forget(now);
        let mut left = max;
        while let Some((due, at)) = self.timers.next_due(now) {
            let is_current = |trace: &TraceEntry| trace.note() == due.note();
            if !self.gathering.trace(at).is_some_and(is_current) {
                continue;
            }
            self.decide(at, now, output);
            left = left.saturating_sub(1);
            if left == 0 || started.elapsed() > MAX_DECISION_TIME {
                return true;
            }
        }
        self.carry_slow(now, started)
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
            // In a full log the memory bound decides.
            let Ok(carried) = self.gathering.carry(at) else {
                return false;
            };
            let note = self.gathering.trace(carried).map_or(0, TraceEntry::note);
            let due = self.timers.tick_at(now).of_note(note);
            self.timers.add(due, carried);
        }
        false
    }

    /// Decides on waiting traces for [`MAX_DECISION_TIME`]; returns whether there are more.
    pub(crate) fn decide_waiting(&mut self, output: &mut impl Output) -> bool {
        let started = Instant::now();
        while started.elapsed() <= MAX_DECISION_TIME {
            if !self.decide_oldest(started, output) {
                self.timers.clear();
                return false;
            }
        }
        true
    }

    /// Decides on the oldest traces while the waiting ones exceed the memory bound, for at most
    /// [`MAX_DECISION_TIME`]; returns whether they still do.
    pub(crate) fn decide_early(&mut self, output: &mut impl Output) -> bool {
        let started = Instant::now();
        // A decision frees nothing by itself: memory is freed when a segment's last trace is
        // settled.
        while self.gathering.allocated() + self.decisions.allocated() > self.settings.max_bytes {
            if started.elapsed() > MAX_DECISION_TIME {
                return true;
            }
            if !self.decide_oldest(started, output) {
                return false;
            }
            self.totals.traces_decided_early += 1;
        }
        false
    }

    fn append_all(
        &mut self,
        scanned: &Scanned<'_>,
        is_gathering: bool,
        now: Instant,
        output: &mut impl Output,
    ) {
        let may_be_in_output = self
            .last_kept_immediately
            .is_some_and(|last| now.saturating_duration_since(last) < DECISION_RETENTION);
        let no_policy = output.note(&KeepReason::NoPolicy);
        let new = NewTraces {
            is_gathering,
            may_be_in_output,
            no_policy,
        };
        let due = Due {
            with_root: self.timers.tick_at(now + self.settings.decision_wait),
            without_root: self.timers.tick_at(now + self.settings.max_trace_duration),
        };
        let hashes = self.hasher.hash_all(scanned.trace_ids(), |id, hash| {
            self.gathering.find(id, hash).is_some()
        });
        let mut last = None;
        let mut since_eviction = 0;
        for (source, spans) in scanned.by_source(&hashes) {
            let mut interned = (Interned::default(), Interned::default());
            for (span, hash) in spans {
                since_eviction += 1;
                if since_eviction == SPANS_BETWEEN_EVICTIONS {
                    since_eviction = 0;
                    // The locks are not released between rounds, since the rest of the request
                    // would exceed the bound further. Few spans were added since the last check,
                    // so few decisions are needed.
                    if output.may_decide_within_request() {
                        while self.decide_early(output) {}
                    }
                    // Evicts after the decisions, which move spans to the store.
                    output.evict();
                    last = None;
                }
                let id = (span.trace_id, hash);
                let location = match last {
                    Some((last, location)) if last == span.trace_id => location,
                    _ => self.locate(id, new, output),
                };
                let appended = self.append(location, due, span, &source, &mut interned, output);
                last = appended.map(|location| (span.trace_id, location));
            }
        }
    }

    /// Determines where a trace is, or where a new one belongs.
    #[inline]
    fn locate<O: Output>(
        &self,
        (id, hash): (TraceId, u64),
        new: NewTraces,
        output: &O,
    ) -> TraceLocation<O::Trace> {
        if let Some(at) = self.gathering.find(id, hash) {
            return TraceLocation::Gathering(Destination::Known(at));
        }
        match self.decisions.find(hash) {
            Some(Decision::Dropped) => return TraceLocation::Dropped,
            // The trace may have been evicted since: then the store drops the span as late.
            Some(Decision::Kept(reason)) => {
                return TraceLocation::Late(output.destination(id, hash, reason));
            }
            None => {}
        }
        if !new.is_gathering {
            return TraceLocation::Output(output.pass_to(id, hash, new.no_policy));
        }
        // This look-up costs a cache miss for each new trace, so it is limited to the time in which
        // a trace in flight may be in the store.
        if new.may_be_in_output
            && let Some(at) = output.find(id, hash)
        {
            return TraceLocation::Output(Destination::Known(at));
        }
        TraceLocation::Gathering(Destination::New { hash, note: 0 })
    }

    /// Appends a span to its trace; returns the trace's location, or `None` if it was not stored.
    fn append<O: Output>(
        &mut self,
        location: TraceLocation<O::Trace>,
        due: Due,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        (in_gathering, in_output): &mut (Interned, Interned),
        output: &mut O,
    ) -> Option<TraceLocation<O::Trace>> {
        if let TraceLocation::Late(_) | TraceLocation::Dropped = location {
            self.totals.followed += 1;
        }
        let appended = match location {
            TraceLocation::Gathering(to) => {
                let at = self.gathering.append(to, span, source, in_gathering);
                if let Ok(at) = at {
                    let is_new = matches!(to, Destination::New { .. });
                    if is_new {
                        output.wait(span.trace_id);
                    }
                    let is_root = span.signature.contains(Signature::ROOT);
                    self.set_due(at, due, is_new, is_root);
                }
                at.map(|at| TraceLocation::Gathering(Destination::Known(at)))
                    .map_err(NotStored::from)
            }
            TraceLocation::Output(to) => {
                let at = output.append(to, span, source, in_output);
                at.map(|at| TraceLocation::Output(Destination::Known(at)))
            }
            TraceLocation::Late(to) => {
                let at = output.append(to, span, source, in_output);
                at.map(|at| TraceLocation::Late(Destination::Known(at)))
            }
            TraceLocation::Dropped => Ok(location),
        };
        match appended {
            Ok(TraceLocation::Gathering(_)) => {}
            Ok(TraceLocation::Dropped) => self.totals.not_sampled += 1,
            Ok(TraceLocation::Output(_) | TraceLocation::Late(_)) | Err(_) => {
                self.totals.count(&appended);
            }
        }
        appended.ok()
    }

    /// Sets the time at which a trace is due, after a span was added to it.
    #[inline]
    fn set_due(&mut self, at: TraceAt, due: Due, is_new: bool, is_root: bool) {
        let due = match (is_new, is_root) {
            (true, false) => due.without_root,
            (_, true) => due.with_root.min(due.without_root),
            (false, false) => return,
        };
        let Some(trace) = self.gathering.trace(at) else {
            return;
        };
        // A second root does not delay the decision.
        if is_new || due < due.of_note(trace.note()) {
            trace.set_note(due.note());
            self.timers.add(due, at);
        }
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
        self.decide_by(at, now, output, decide);
    }

    fn decide_by(
        &mut self,
        at: TraceAt,
        now: Instant,
        output: &mut impl Output,
        decide: impl for<'t> FnOnce(&'t TailTable, TraceId, &[Waiting<'_>]) -> Decided<'t>,
    ) {
        let Some(id) = self.gathering.trace(at).map(|trace| trace.id) else {
            return;
        };
        let hash = self.hasher.hash(id);
        let spans = self.gathering.spans_of(at);
        let mut spans: Vec<Waiting<'_>> = spans.map(|(_, segment, span)| (segment, span)).collect();
        spans.reverse();
        let count = spans.len();
        let decided = decide(&self.table, id, &spans);
        if let Some(policy) = decided.policy {
            self.counts.count(policy, decided.kept.as_ref());
        }
        let decision = match decided.kept {
            Some(kept) => {
                let reason = output.note(&kept);
                output.decide(id, Decision::Kept(reason));
                keep((id, hash), reason, &spans, output, &mut self.totals);
                self.totals.traces_kept += 1;
                Decision::Kept(reason)
            }
            None => {
                output.decide(id, Decision::Dropped);
                self.totals.not_sampled += count as u64;
                self.totals.traces_dropped += 1;
                self.totals.last_dropped = Some(Timestamp::now());
                Decision::Dropped
            }
        };
        self.gathering.settle(at, count);
        self.decisions.remember(hash, decision, now);
    }
}

/// The treatment of the new traces of a request.
#[derive(Clone, Copy)]
struct NewTraces {
    /// They wait; otherwise they are passed straight on.
    is_gathering: bool,
    /// The output may have the first spans of some of them.
    may_be_in_output: bool,
    /// The note of those that are passed straight on.
    no_policy: u32,
}

/// The times at which a trace is due, of which a span arrived now.
#[derive(Clone, Copy)]
struct Due {
    /// If the span is its root.
    with_root: Tick,
    /// If the span is its first one.
    without_root: Tick,
}

/// The log that a trace is in, or that a new trace belongs to.
#[derive(Clone, Copy, Debug)]
enum TraceLocation<T> {
    Gathering(Destination),
    Output(Destination<T>),
    /// The trace was kept before; its late spans follow.
    Late(Destination<T>),
    /// The trace was dropped before; its late spans follow.
    Dropped,
}
