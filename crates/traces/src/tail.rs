//! Gathers traces and decides on each once, whole.
//!
//! Invariants, each under the sampler's lock:
//! - A trace that was gathered is in the gathering log until its decision is forgotten: either
//!   waiting, or decided with a note that contains the decision, which its late spans follow. Only
//!   a trace that is neither there nor in the store is new.
//! - A new trace is gathered if a tail policy is in force. Otherwise it goes to the store
//!   immediately: that is its decision, which a later policy does not undo.
//! - A waiting trace is decided once, by the table in force at that time, even an empty one.
//!
//! So each trace is decided once and whole for as long as its decision is remembered: at least a
//! minute, unless [`TailSettings::max_remembered_decisions`] others follow. A trace that went to
//! the store immediately is recognised there until a minute after the last request without a policy
//! in force.

mod decide;
mod keep;
mod randomness;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_policy::TailTable;

use crate::{
    KeepReason, TailSettings, Totals, TraceId,
    log::{Destination, IdHasher, Interned, Log, Snapshot, TraceEntry},
    scan::Scanned,
    span::{NewSource, NewSpan},
    store::{SPANS_BETWEEN_EVICTIONS, Writer},
};
use decide::{ResourceRules, WaitingSpan, decide};
use keep::keep;

/// Routes spans: into the gathering log, into the store, or nowhere.
pub(crate) struct TailSampler {
    settings: TailSettings,
    hasher: IdHasher,
    table: TailTable,
    resource_rules: ResourceRules,
    gathering: Log,
    /// Arrival times, each with the number of traces that had begun by then.
    arrivals: VecDeque<(Instant, u64)>,
    begun: u64,
    decided: u64,
    /// The last time that a trace went to the store without waiting.
    last_kept_immediately: Option<Instant>,
    /// The length of the longest request that was refused for lack of room, until there is room.
    refused_bytes: Option<usize>,
    totals: Totals,
}

/// The precision of arrival times. It delays decisions by at most this, and makes none early.
const ARRIVAL_STEP: Duration = Duration::from_millis(1);
/// The longest time for which one call makes decisions, since others wait for the lock, some of
/// them on asynchronous threads. Traces may be large and rules many, so a limit on the number of
/// decisions would not bound the time.
const MAX_DECISION_TIME: Duration = Duration::from_millis(10);
/// The time for which decisions are remembered once their segment is stripped.
const DECISION_RETENTION: Duration = Duration::from_secs(60);
/// The memory of one remembered decision. All together take at most a quarter of the bound.
const BYTES_PER_DECISION: usize = 64;

/// The notes of traces in the gathering log: waiting, dropped or kept. The note of a kept trace is
/// the sum of `KEPT` and the store's number for the reason.
const WAITING: u32 = 0;
const DROPPED: u32 = 1;
const KEPT: u32 = 2;

impl TailSampler {
    pub(crate) fn new(mut settings: TailSettings, hasher: IdHasher) -> Self {
        settings.max_remembered_decisions = settings
            .max_remembered_decisions
            .min(settings.max_bytes / 4 / BYTES_PER_DECISION);
        Self {
            gathering: Log::new(settings.max_bytes, hasher.clone()),
            hasher,
            settings,
            table: TailTable::default(),
            resource_rules: ResourceRules::default(),
            arrivals: VecDeque::new(),
            begun: 0,
            decided: 0,
            last_kept_immediately: None,
            refused_bytes: None,
            totals: Totals::default(),
        }
    }

    /// Replaces the table for all later decisions.
    pub(crate) fn set_table(&mut self, table: TailTable) {
        self.table = table;
        self.resource_rules = ResourceRules::default();
    }

    /// The traces that wait or were decided recently.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.gathering.snapshot()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            gathering: self.gathering.spans() as u64,
            traces_gathering: self.waiting(),
            ..self.totals
        }
    }

    /// Accepts a request: appends each span to the log that has its trace, or drops it. The waiting
    /// traces may exceed the memory bound afterwards, by at most the index of the request's spans,
    /// until the next request or [`Self::decide_for_refused`].
    pub(crate) fn accept(&mut self, scanned: &Scanned<'_>, now: Instant, store: &mut Writer<'_>) {
        let count = scanned.spans.len() as u64;
        self.totals.received += count + scanned.rejected.total();
        self.totals.rejected += scanned.rejected;
        if self.table.is_empty() {
            // A policy that is applied within a minute finds these traces in the store, and does
            // not gather them.
            self.last_kept_immediately = Some(now);
            // Nothing waits and nothing is remembered, so the gathering log needs no look-ups.
            if self.gathering.len() == 0 {
                let note = store.record_reason(&KeepReason::NoPolicy);
                store.accept(scanned, note, &mut self.totals);
                return;
            }
        }
        let begun = self.begun;
        self.append_all(scanned, now, store);
        if self.begun > begun {
            self.record_arrival(now);
        }
        // Twice as many as have begun, so that due traces do not pile up between ticks.
        self.decide_due(now, (self.begun - begun) as usize * 2 + 8, store);
        self.decide_early(0, store);
    }

    fn waiting(&self) -> u64 {
        self.begun - self.decided
    }

    /// Decides on at most `max` traces whose wait is over, for at most [`MAX_DECISION_TIME`];
    /// returns whether there are more.
    pub(crate) fn decide_due(&mut self, now: Instant, max: usize, store: &mut Writer<'_>) -> bool {
        let started = Instant::now();
        self.gathering
            .forget(self.settings.max_remembered_decisions, DECISION_RETENTION);
        if self.table.is_empty() {
            // Without a policy, no new traces push out the decided ones.
            self.gathering.retire();
        }
        let mut left = max;
        while let Some((time, count)) = self.arrivals.front().copied() {
            if now.saturating_duration_since(time) < self.settings.decision_wait + ARRIVAL_STEP {
                return false;
            }
            while self.decided < count {
                if left == 0 || started.elapsed() > MAX_DECISION_TIME {
                    return true;
                }
                left -= 1;
                if !self.decide_oldest(store) {
                    break;
                }
            }
            self.arrivals.pop_front();
        }
        false
    }

    /// Decides on waiting traces for at most [`MAX_DECISION_TIME`]; returns whether there may be
    /// more.
    pub(crate) fn decide_waiting(&mut self, store: &mut Writer<'_>) -> bool {
        let started = Instant::now();
        while started.elapsed() <= MAX_DECISION_TIME {
            if !self.decide_oldest(store) {
                // All traces that the arrival times count are decided.
                self.arrivals.clear();
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
    pub(crate) fn decide_for_refused(&mut self, store: &mut Writer<'_>) -> bool {
        let refused = self.refused_bytes.take();
        let is_over = self.decide_early(refused.unwrap_or(0), store);
        if is_over {
            self.refused_bytes = refused;
        }
        is_over
    }

    /// Decides on the oldest traces while the waiting ones and `more` bytes exceed the memory
    /// bound, for at most [`MAX_DECISION_TIME`], or not at all while requests are refused; returns
    /// true if they still do and there may be traces left to decide on.
    pub(crate) fn decide_early(&mut self, more: usize, store: &mut Writer<'_>) -> bool {
        let started = Instant::now();
        let max_time = match self.is_refusing() {
            true => Duration::ZERO,
            false => MAX_DECISION_TIME,
        };
        // A decision frees nothing by itself: memory is freed when a segment's last trace is
        // decided.
        while self.gathering.allocated() + more > self.settings.max_bytes {
            if started.elapsed() >= max_time {
                return true;
            }
            if !self.decide_oldest(store) {
                return false;
            }
            self.totals.traces_decided_early += 1;
        }
        false
    }

    fn append_all(&mut self, scanned: &Scanned<'_>, now: Instant, store: &mut Writer<'_>) {
        let may_be_in_store = self
            .last_kept_immediately
            .is_some_and(|last| now.saturating_duration_since(last) < DECISION_RETENTION);
        let no_policy = store.record_reason(&KeepReason::NoPolicy);
        let hashes = self.hasher.hash_all(scanned.trace_ids(), |id, hash| {
            self.gathering.find(id, hash).is_some()
        });
        let mut last: Option<(TraceId, TraceLocation)> = None;
        let mut since_eviction = 0;
        let mut interned = (Interned::default(), Interned::default());
        for (source, spans) in scanned.by_source(&hashes) {
            interned.0.advance(&source);
            interned.1.advance(&source);
            for (span, hash) in spans {
                since_eviction += 1;
                if since_eviction == SPANS_BETWEEN_EVICTIONS {
                    since_eviction = 0;
                    // One round only, since the locks are not released within a request, and a
                    // segment is not freed before its last trace is decided.
                    self.decide_early(0, store);
                    // Evicts after the decisions, which move spans to the store.
                    store.evict();
                    last = None;
                }
                let id = (span.trace_id, hash);
                let location = match last {
                    Some((last, location)) if last == span.trace_id => location,
                    _ => self.locate(id, may_be_in_store, no_policy, store),
                };
                let appended = self.append(location, span, &source, &mut interned, store);
                last = appended.map(|location| (span.trace_id, location));
            }
        }
    }

    /// Determines where a trace is, or where a new one belongs.
    #[inline]
    fn locate(
        &self,
        (id, hash): (TraceId, u64),
        may_be_in_store: bool,
        no_policy: u32,
        store: &Writer<'_>,
    ) -> TraceLocation {
        if let Some(at) = self.gathering.find(id, hash) {
            return match self.gathering.trace(at).map_or(DROPPED, TraceEntry::note) {
                WAITING => TraceLocation::Gathering(Destination::Known(at)),
                DROPPED => TraceLocation::Dropped,
                // The trace may have been evicted since: then the store drops the span as late.
                kept => TraceLocation::Store(store.destination(id, hash, kept - KEPT)),
            };
        }
        if self.table.is_empty() {
            return TraceLocation::Store(store.destination(id, hash, no_policy));
        }
        // This look-up costs a cache miss for each new trace, so it is limited to the time in which
        // a trace in flight may be in the store.
        if may_be_in_store && let Some(at) = store.find(id, hash) {
            return TraceLocation::Store(Destination::Known(at));
        }
        TraceLocation::Gathering(Destination::New {
            hash,
            note: WAITING,
        })
    }

    /// Appends a span to its trace, unless that was dropped; returns the trace's location, or
    /// `None` if there is no room for the span or its trace was evicted.
    fn append(
        &mut self,
        location: TraceLocation,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        (in_gathering, in_store): &mut (Interned, Interned),
        store: &mut Writer<'_>,
    ) -> Option<TraceLocation> {
        let appended = match location {
            TraceLocation::Gathering(to) => {
                let at = self.gathering.append(to, span, source, in_gathering);
                let is_new = matches!(to, Destination::New { .. });
                self.begun += u64::from(is_new && at.is_ok());
                at.map(|at| TraceLocation::Gathering(Destination::Known(at)))
            }
            TraceLocation::Store(to) => {
                let at = store.append(to, span, source, in_store);
                at.map(|at| TraceLocation::Store(Destination::Known(at)))
            }
            TraceLocation::Dropped => Ok(location),
        };
        match appended {
            Ok(TraceLocation::Gathering(_)) => {}
            Ok(TraceLocation::Dropped) => self.totals.not_sampled += 1,
            Ok(TraceLocation::Store(_)) | Err(_) => self.totals.count(&appended),
        }
        appended.ok()
    }

    fn record_arrival(&mut self, now: Instant) {
        match self.arrivals.back_mut() {
            // One entry per millisecond instead of one per trace.
            Some((time, count)) if now.saturating_duration_since(*time) < ARRIVAL_STEP => {
                *count = self.begun;
            }
            _ => self.arrivals.push_back((now, self.begun)),
        }
    }

    /// Decides on the oldest waiting trace; returns false if there is none.
    fn decide_oldest(&mut self, store: &mut Writer<'_>) -> bool {
        let Some(at) = self.gathering.oldest() else {
            return false;
        };
        let Some(id) = self.gathering.trace(at).map(|trace| trace.id) else {
            return false;
        };
        let mut spans: Vec<WaitingSpan<'_>> = self
            .gathering
            .spans_of(at)
            .map(|(_, segment, span)| (segment, span))
            .collect();
        spans.reverse();
        let count = spans.len();
        let note = match decide(&self.table, &mut self.resource_rules, id, &spans) {
            Some(kept) => {
                let reason = store.record_reason(&kept);
                let id = (id, self.hasher.hash(id));
                keep(id, reason, &spans, store, &mut self.totals);
                self.totals.traces_kept += 1;
                KEPT + reason
            }
            None => {
                self.totals.not_sampled += count as u64;
                self.totals.traces_dropped += 1;
                self.totals.last_dropped = Some(Timestamp::now());
                DROPPED
            }
        };
        self.gathering.mark_oldest_decided(note, count);
        self.decided += 1;
        true
    }
}

/// The log that a trace is in, or that a new trace belongs to.
#[derive(Clone, Copy, Debug)]
enum TraceLocation {
    Gathering(Destination),
    Store(Destination),
    Dropped,
}
