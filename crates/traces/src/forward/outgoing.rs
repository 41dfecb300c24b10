//! The output of a sampler: batches of spans to forward.

use std::time::Instant;

use super::{annotation::Annotation, batches::Batches, position::Position, tracker::Tracker};
use crate::{
    KeepReason, Totals, TraceId,
    keep_reason::Reasons,
    log::{Destination, IdHasher, Interned},
    output::Output,
    scan::Scanned,
    span::{NewSource, NewSpan},
    tail::{DECISION_RETENTION, Decision, Decisions},
    totals::NotStored,
};

/// The spans to forward, and the traces that were forwarded without waiting.
pub(super) struct Outgoing {
    pub(super) batches: Batches,
    hasher: IdHasher,
    pub(super) reasons: Reasons,
    /// One for each reason.
    annotations: Vec<Annotation>,
    /// Traces passed straight on. For as long as they are remembered, a policy that is applied
    /// later does not apply to their further spans.
    passed: Decisions,
    /// Follows the effects of the journal's records, if there is a journal.
    pub(super) tracker: Option<Tracker>,
    /// The time of the record that is being replayed.
    pub(super) replay_time: Option<Instant>,
}

impl Outgoing {
    /// Remembers at most `max_passed` traces that did not wait, as decisions are remembered.
    pub(super) fn new(hasher: IdHasher, max_passed: usize) -> Self {
        Self {
            batches: Batches::default(),
            hasher,
            reasons: Reasons::default(),
            annotations: Vec::new(),
            passed: Decisions::new(max_passed, DECISION_RETENTION),
            tracker: None,
            replay_time: None,
        }
    }

    /// Remembers a trace that an earlier process passed straight on.
    pub(super) fn replay_passed(&mut self, id: TraceId, time: Instant) {
        let hash = self.hasher.hash(id);
        if self.passed.find(hash).is_none() {
            let note = self.record_reason(&KeepReason::NoPolicy);
            self.passed.remember(hash, Decision::Kept(note), time);
        }
    }

    /// Forgets the traces that were passed straight on.
    pub(super) fn forget_passed(&mut self) {
        self.passed.clear();
    }

    /// The hash of a trace ID, which is the same in the sampler.
    pub(super) fn hash(&self, id: TraceId) -> u64 {
        self.hasher.hash(id)
    }

    /// Returns whether a trace was passed straight on and is remembered.
    pub(super) fn is_passed(&self, hash: u64) -> bool {
        self.passed.find(hash).is_some()
    }

    /// Remembers a new trace that is passed straight on.
    fn pass(&mut self, id: TraceId, hash: u64, note: u32) {
        let now = self.replay_time.unwrap_or_else(Instant::now);
        self.passed.remember(hash, Decision::Kept(note), now);
        if let Some(tracker) = &mut self.tracker {
            tracker.pass(id);
        }
    }

    fn add(
        &mut self,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        note: u32,
        interned: &mut Interned,
    ) {
        let at = match &mut self.tracker {
            None => Position::default(),
            Some(tracker) => match tracker.next_span() {
                Some(at) => at,
                None => return,
            },
        };
        let none = Annotation::default();
        let annotation = self.annotations.get(note as usize).unwrap_or(&none);
        self.batches.add(span, source, annotation, at, interned);
    }
}

impl Output for Outgoing {
    /// The note of the trace.
    type Trace = u32;

    fn record_reason(&mut self, kept: &KeepReason) -> u32 {
        let number = self.reasons.number(kept);
        // Another reason may be recorded in its place.
        if number as usize == self.annotations.len()
            && let Some(recorded) = self.reasons.get(number)
        {
            self.annotations.push(Annotation::new(recorded));
        }
        number
    }

    fn find(&self, _: TraceId, hash: u64) -> Option<u32> {
        match self.passed.find(hash)? {
            Decision::Kept(note) => Some(note),
            Decision::Dropped => None,
        }
    }

    fn destination(&self, _: TraceId, _: u64, note: u32) -> Destination<u32> {
        Destination::Known(note)
    }

    fn pass_to(&self, _: TraceId, hash: u64, note: u32) -> Destination<u32> {
        match self.passed.find(hash) {
            Some(_) => Destination::Known(note),
            None => Destination::New { hash, note },
        }
    }

    fn append(
        &mut self,
        to: Destination<u32>,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) -> Result<u32, NotStored> {
        let note = match to {
            Destination::Known(note) => note,
            Destination::New { hash, note } => {
                self.pass(span.trace_id, hash, note);
                note
            }
        };
        self.add(span, source, note, interned);
        Ok(note)
    }

    fn accept(&mut self, scanned: &Scanned<'_>, note: u32, totals: &mut Totals) {
        let ids = scanned.trace_ids();
        let hashes = self
            .hasher
            .hash_all(ids, |_, hash| self.passed.find(hash).is_some());
        let mut interned = Interned::default();
        for (source, spans) in scanned.by_source(&hashes, None) {
            interned.advance(&source);
            for (span, hash) in spans {
                if self.passed.find(hash).is_none() {
                    self.pass(span.trace_id, hash, note);
                }
                self.add(span, &source, note, &mut interned);
                totals.kept += 1;
            }
        }
    }

    fn evict(&mut self) {}

    fn may_decide_within_request(&self) -> bool {
        // In the journal, a decision is before or after a request, not within it. Decisions with
        // each request would need as many records; the decision task writes hundreds in one record.
        self.tracker.is_none()
    }

    /// The segment of the journal with the request.
    fn mark(&self) -> u64 {
        self.tracker.as_ref().map_or(0, Tracker::segment)
    }

    fn wait(&mut self) {
        if let Some(tracker) = &mut self.tracker {
            tracker.wait();
        }
    }

    fn decide(&mut self, id: TraceId, decision: Decision, mark: u64) {
        if let Some(tracker) = &mut self.tracker {
            tracker.decide(id, decision, mark);
        }
    }
}
