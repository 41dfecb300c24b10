//! Gathers traces and decides on each once, whole.
//!
//! Invariants, each under the sampler's lock:
//! - A trace that was gathered waits in the gathering log, or is in the table of decisions until
//!   its decision is forgotten; its late spans follow the decision. Only a trace that is in neither
//!   of them nor in the output is new.
//! - A new trace is gathered if a tail policy is in force. Otherwise it goes to the output
//!   immediately: that is its decision, which a later policy does not undo.
//! - A waiting trace is decided once, by the table in force at that time, even an empty one.
//!
//! So each trace is decided once and whole for as long as its decision is remembered: at least ten
//! minutes, unless about [`TailSettings::max_remembered_decisions`] others follow. A trace that
//! went to the output immediately is recognised there until ten minutes after the last request
//! without a policy in force, unless a store evicts it, or as many others follow in a forwarder.
//!
//! A trace is due [`TailSettings::decision_wait`] after its root, which usually ends last, and at
//! the latest [`TailSettings::max_trace_duration`] after its first span. After a replay, none is due
//! for a decision wait: senders first repeat the spans that they could not send meanwhile. Among
//! several samplers, a due trace also waits until the peers have none of its spans left, but no
//! longer than [`TailSettings::max_trace_duration`]. After an interruption of the input, decisions
//! are [postponed](postpone), but not beyond that time after the first span.

mod counts;
mod decide;
mod decisions;
mod keep;
mod postpone;
mod randomness;
mod replay;
mod rounds;
mod schedule;
mod timers;

use std::time::{Duration, Instant};

use spoor_policy::{PolicyKey, TailTable, Version};

use crate::{
    KeepReason, Rejected, TailSettings, Totals, TraceId,
    log::{Destination, IdHasher, Interned, Log, Mark, Snapshot, TraceAt},
    output::Output,
    scan::Scanned,
    span::{NewSource, NewSpan, Signature},
    store::SPANS_BETWEEN_EVICTIONS,
};
use counts::Counts;
pub use counts::{PolicyDecisions, TailCount};
use decide::ResourceRules;
pub(crate) use decisions::{Decision, Decisions};
pub(crate) use randomness::Head;
pub(crate) use rounds::decide_in_rounds;
use timers::{Tick, Timers};

/// Routes spans: into the gathering log, into the output, or nowhere.
pub(crate) struct TailSampler {
    settings: TailSettings,
    hasher: IdHasher,
    table: TailTable,
    resource_rules: ResourceRules,
    /// The traces that wait, each with the tick at which it is due as its note.
    gathering: Log,
    timers: Timers,
    decisions: Decisions,
    counts: Counts,
    /// Traces that a sampler before this one has kept are kept, and not counted again.
    follows_decisions: bool,
    /// After a replay, the time before which no trace is due.
    due_from: Option<Instant>,
    /// Traces that are due later than this wait, since peers may have spans of them.
    due_until: Option<Instant>,
    /// While decisions are postponed, the tick until which they are.
    postponed_until: Option<Tick>,
    decisions_postponed: u64,
    /// The last time that a trace went to the output without waiting.
    last_kept_immediately: Option<Instant>,
    /// The length of the longest request that was refused for lack of room, until there is room.
    refused_bytes: Option<usize>,
    totals: Totals,
}

/// The time for which decisions are remembered.
pub(crate) const DECISION_RETENTION: Duration = Duration::from_secs(600);
/// The memory of one remembered decision, with the free slots of its table. All together take at
/// most a quarter of the bound.
const BYTES_PER_DECISION: usize = 21;

/// The most decisions to remember within the bound on memory.
pub(crate) fn max_decisions(settings: &TailSettings) -> usize {
    let max = settings.max_bytes / 4 / BYTES_PER_DECISION;
    settings.max_remembered_decisions.min(max)
}

impl TailSampler {
    pub(crate) fn new(settings: TailSettings, hasher: IdHasher) -> Self {
        Self {
            gathering: Log::new(settings.max_bytes, hasher.clone()).with_shortened_spans(),
            timers: Timers::new(),
            decisions: Decisions::new(max_decisions(&settings), DECISION_RETENTION),
            counts: Counts::default(),
            follows_decisions: false,
            hasher,
            settings,
            table: TailTable::default(),
            resource_rules: ResourceRules::default(),
            due_from: None,
            due_until: None,
            postponed_until: None,
            decisions_postponed: 0,
            last_kept_immediately: None,
            refused_bytes: None,
            totals: Totals::default(),
        }
    }

    /// Keeps the traces that a sampler before this one has kept, by the same policy, without deciding
    /// and counting again.
    pub(crate) fn following_decisions(self) -> Self {
        Self {
            follows_decisions: true,
            ..self
        }
    }

    /// Replaces the table for all later decisions.
    pub(crate) fn set_table(&mut self, table: TailTable) {
        self.table = table;
        self.resource_rules = ResourceRules::default();
    }

    /// Like [`Self::set_table`], but also counts the decisions by these rules under their version.
    pub(crate) fn set_counted_table(&mut self, version: Version, table: TailTable) {
        self.counts.begin(version);
        self.set_table(table);
    }

    /// Takes over the table and the counts of another sampler.
    pub(crate) fn take_rules(&mut self, other: &mut Self) {
        self.set_table(std::mem::take(&mut other.table));
        self.counts = std::mem::take(&mut other.counts);
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

    /// Returns whether a trace waits or its decision is remembered.
    pub(crate) fn is_known(&self, id: TraceId, hash: u64) -> bool {
        self.gathering.find(id, hash).is_some() || self.decisions.find(hash).is_some()
    }

    /// Counts the spans of a request that were rejected.
    pub(crate) fn record_rejected(&mut self, rejected: Rejected) {
        self.totals.received += rejected.total();
        self.totals.rejected += rejected;
    }

    /// Returns whether new traces are looked up in the output, which may have their first spans.
    pub(crate) fn may_be_in_output(&self, now: Instant) -> bool {
        self.last_kept_immediately
            .is_some_and(|last| now.saturating_duration_since(last) < DECISION_RETENTION)
    }

    /// The traces that wait or were decided recently.
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

    /// Accepts a request: appends each span to the log that has its trace, or drops it. The waiting
    /// traces may exceed the memory bound afterwards, by at most the index of the request's spans,
    /// until the next request or [`Self::decide_for_refused`].
    pub(crate) fn accept(&mut self, scanned: &Scanned<'_>, now: Instant, output: &mut impl Output) {
        self.accept_as(scanned, self.is_gathering(), now, output);
    }

    /// Like [`Self::accept`], but new traces are gathered, or else passed straight on, whatever the
    /// table.
    pub(crate) fn accept_as(
        &mut self,
        scanned: &Scanned<'_>,
        is_gathering: bool,
        now: Instant,
        output: &mut impl Output,
    ) {
        let before = self.gathering.len();
        let is_by_trace = self.add(scanned, is_gathering, now, output);
        if !is_by_trace || !output.may_decide_within_request() {
            return;
        }
        // Twice as many as have begun, so that due traces do not pile up between ticks.
        let begun = self.gathering.len().saturating_sub(before);
        self.decide_due(now, begun * 2 + 8, output);
        self.decide_early(0, output);
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
        self.totals.received += count;
        self.record_rejected(scanned.rejected);
        if !is_gathering {
            // A policy that is applied within ten minutes finds these traces in the output, and
            // does not gather them.
            self.last_kept_immediately = Some(now);
            // Nothing waits and nothing is remembered, so the traces need no look-ups.
            if self.gathering.len() == 0 && self.decisions.is_empty() {
                let note = output.record_reason(&KeepReason::NoPolicy);
                output.accept(scanned, note, &mut self.totals);
                return false;
            }
        }
        self.append_all(scanned, is_gathering, now, output);
        true
    }

    fn append_all(
        &mut self,
        scanned: &Scanned<'_>,
        is_gathering: bool,
        now: Instant,
        output: &mut impl Output,
    ) {
        let no_policy = output.record_reason(&KeepReason::NoPolicy);
        let new = NewTraces {
            is_gathering,
            may_be_in_output: self.may_be_in_output(now),
            no_policy,
        };
        let due = Due {
            with_root: self.timers.tick_at(now + self.settings.decision_wait),
            without_root: self.timers.tick_at(now + self.settings.max_trace_duration),
        };
        let hashes = self.hasher.hash_all(scanned.trace_ids(), |id, hash| {
            self.gathering.find(id, hash).is_some()
        });
        self.gathering.set_mark(Mark {
            output: output.mark(),
            sampler: due.without_root.mark(),
        });
        let namespace = self.settings.namespace.clone();
        let mut last = None;
        let mut since_eviction = 0;
        let mut interned = (Interned::default(), Interned::default());
        for (source, spans) in scanned.by_source(&hashes, namespace.as_ref()) {
            interned.0.advance(&source);
            interned.1.advance(&source);
            for (span, hash) in spans {
                since_eviction += 1;
                if since_eviction == SPANS_BETWEEN_EVICTIONS {
                    since_eviction = 0;
                    // One round only, since the locks are not released within a request, and a
                    // segment is not freed before its last trace is decided.
                    if output.may_decide_within_request() {
                        self.decide_early(0, output);
                    }
                    // Evicts after the decisions, which move spans to the output.
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
        // a trace in flight may be in the output.
        if new.may_be_in_output
            && let Some(at) = output.find(id, hash)
        {
            return TraceLocation::Output(Destination::Known(at));
        }
        TraceLocation::Gathering(Destination::New { hash, note: 0 })
    }

    /// Appends a span to its trace, unless that was dropped; returns the trace's location, or
    /// `None` if there is no room for the span or its trace was evicted.
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
                        output.wait();
                    }
                    let is_root = span.signature.contains(Signature::ROOT);
                    self.set_due(at, due, is_new, is_root);
                }
                at.map(|at| TraceLocation::Gathering(Destination::Known(at)))
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
