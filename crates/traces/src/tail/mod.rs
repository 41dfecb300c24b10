//! Gathers traces and decides on each once, whole.
//!
//! Invariants, each under the sampler's lock:
//! - A trace is in one place: gathering, in the store, or among those dropped and remembered.
//!   A span goes where its trace is; only a trace that is nowhere is new.
//! - A new trace gathers if a tail policy is in force. Otherwise it goes to the store at once:
//!   that is its decision, which a policy that comes later doesn't undo.
//! - A trace that gathers is decided once, by the table in force at that time, be it empty.
//!
//! So each trace is decided once and whole while its decision is remembered: as long as the
//! store holds it if it was kept, among the last [`TailSettings::remembered`] if it was dropped.

mod decide;
mod forgotten;
mod randomness;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use spoor_policy::TailTable;

use crate::{
    Kept, TraceId,
    log::{IdHasher, Interned, Log, NewSource, NewSpan, TraceAt},
    scan::Scanned,
    store::Writer,
};
use decide::{Waiting, decide};
use forgotten::Forgotten;

/// How traces are gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailSettings {
    /// How long a trace gathers, from its first span.
    pub decision_wait: Duration,
    /// The memory for gathering, in bytes; beyond it the oldest traces are decided early.
    pub max_bytes: usize,
    /// How many dropped traces are remembered, so that their late spans follow.
    pub remembered: usize,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self {
            decision_wait: Duration::from_secs(2),
            max_bytes: 256 << 20,
            remembered: 100_000,
        }
    }
}

/// What became of spans and traces, since the start. All spans received are kept, dropped or
/// gathering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Spans in requests that could be read.
    pub received: u64,
    /// Spans that went to the store.
    pub kept: u64,
    /// Spans of traces that a policy dropped.
    pub not_sampled: u64,
    /// Spans with an invalid trace id.
    pub invalid_trace_id: u64,
    /// Spans with an invalid span id.
    pub invalid_span_id: u64,
    /// Spans for which there was no room.
    pub no_room: u64,
    /// Spans that wait for their trace's decision.
    pub gathering: u64,
    /// Traces that wait for their decision.
    pub traces_gathering: u64,
    /// Traces decided and kept.
    pub traces_kept: u64,
    /// Traces decided and dropped.
    pub traces_dropped: u64,
    /// Traces decided before their time, for want of memory.
    pub traces_decided_early: u64,
}

impl Totals {
    /// Spans dropped, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.not_sampled + self.invalid_trace_id + self.invalid_span_id + self.no_room
    }
}

/// Where all spans pass.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: TailSettings,
    hasher: IdHasher,
    table: TailTable,
    gathering: Log,
    /// When traces came: by this time, so many in all.
    arrivals: VecDeque<(Instant, u64)>,
    begun: u64,
    decided: u64,
    forgotten: Forgotten,
    totals: Totals,
}

/// How exactly arrivals are noted; decisions come later by that much, never early.
const ARRIVAL_GRAIN: Duration = Duration::from_millis(1);
const REMEMBER_FOR: Duration = Duration::from_secs(60);

impl Sampler {
    pub(crate) fn new(settings: TailSettings, hasher: IdHasher, now: Instant) -> Self {
        Self {
            gathering: Log::new(settings.max_bytes, hasher.clone()),
            forgotten: Forgotten::new(settings.remembered, REMEMBER_FOR, hasher.clone(), now),
            hasher,
            settings,
            table: TailTable::default(),
            arrivals: VecDeque::new(),
            begun: 0,
            decided: 0,
            totals: Totals::default(),
        }
    }

    /// The table for all decisions from now on.
    pub(crate) fn set_table(&mut self, table: TailTable) {
        self.table = table;
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            gathering: self.gathering.spans() as u64,
            traces_gathering: self.gathering.len() as u64,
            ..self.totals
        }
    }

    /// Takes a request's spans.
    pub(crate) fn take(&mut self, scanned: &Scanned<'_>, now: Instant, store: &mut Writer<'_>) {
        let count = scanned.spans.len() as u64;
        self.totals.received += count + scanned.without_trace_id + scanned.without_span_id;
        self.totals.invalid_trace_id += scanned.without_trace_id;
        self.totals.invalid_span_id += scanned.without_span_id;
        self.forgotten.age(now);
        if self.table.is_empty() && self.gathering.len() == 0 && self.forgotten.is_empty() {
            self.keep_all(scanned, store);
            return;
        }
        let begun = self.begun;
        self.route_all(scanned, store);
        if self.begun > begun {
            self.note_arrival(now);
        }
        // As many as came, and some more: what is due doesn't pile up between ticks.
        self.decide_due(now, (self.begun - begun) as usize * 2 + 8, store);
        while self.gathering.allocated() > self.settings.max_bytes && self.decide_oldest(store) {
            self.totals.traces_decided_early += 1;
        }
    }

    /// Decides on the traces whose time has come, at most `max`; says whether there are more.
    pub(crate) fn decide_due(&mut self, now: Instant, max: usize, store: &mut Writer<'_>) -> bool {
        let mut left = max;
        while let Some((came, count)) = self.arrivals.front().copied() {
            if now.saturating_duration_since(came) < self.settings.decision_wait + ARRIVAL_GRAIN {
                return false;
            }
            while self.decided < count {
                if left == 0 {
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

    /// Decides on at most `max` of all that wait; says whether there are more.
    pub(crate) fn decide_any(&mut self, max: usize, store: &mut Writer<'_>) -> bool {
        for _ in 0..max {
            if !self.decide_oldest(store) {
                self.arrivals.clear();
                return false;
            }
        }
        true
    }

    fn keep_all(&mut self, scanned: &Scanned<'_>, store: &mut Writer<'_>) {
        let note = store.note(&Kept::NoPolicy);
        let kept = store.insert(scanned, note) as u64;
        self.totals.kept += kept;
        self.totals.no_room += scanned.spans.len() as u64 - kept;
    }

    fn route_all(&mut self, scanned: &Scanned<'_>, store: &mut Writer<'_>) {
        let no_policy = store.note(&Kept::NoPolicy);
        let mut interned = vec![(Interned::default(), Interned::default()); scanned.scopes.len()];
        let mut last: Option<(TraceId, Place)> = None;
        for span in &scanned.spans {
            let Some(source) = scanned.source(span) else {
                continue;
            };
            let Some(interned) = interned.get_mut(span.scope as usize) else {
                continue;
            };
            let new = NewSpan::from(span);
            let id = span.trace_id;
            let place = match last {
                Some((last, place)) if last == id => place,
                _ => self.place(id, store),
            };
            let routed = self.route(id, place, no_policy, (&new, &source), interned, store);
            last = routed.map(|place| (id, place));
        }
    }

    #[inline]
    fn place(&self, id: TraceId, store: &Writer<'_>) -> Place {
        let hash = self.hasher.hash(id);
        if let Some(at) = self.gathering.find(id, hash) {
            Place::Gathering(at)
        } else if let Some(at) = store.find(id, hash) {
            Place::Kept(at)
        } else if self.forgotten.contains(id, hash) {
            Place::Dropped
        } else {
            Place::Nowhere { hash }
        }
    }

    /// Puts a span where its trace is; says where that is now.
    fn route(
        &mut self,
        id: TraceId,
        place: Place,
        no_policy: u32,
        (span, source): (&NewSpan<'_>, &NewSource<'_>),
        (in_gathering, in_store): &mut (Interned, Interned),
        store: &mut Writer<'_>,
    ) -> Option<Place> {
        let routed = match place {
            Place::Gathering(at) => self
                .gathering
                .append(at, span, source, in_gathering)
                .map(|()| place),
            Place::Kept(at) => store.append(at, span, source, in_store).map(|()| place),
            Place::Dropped => Ok(place),
            Place::Nowhere { hash } if self.table.is_empty() => {
                let at = store.begin((id, hash), no_policy, span, source, in_store);
                at.map(Place::Kept)
            }
            Place::Nowhere { hash } => {
                let at = self
                    .gathering
                    .begin((id, hash), 0, span, source, in_gathering);
                self.begun += u64::from(at.is_ok());
                at.map(Place::Gathering)
            }
        };
        match routed {
            Ok(Place::Kept(_)) => self.totals.kept += 1,
            Ok(Place::Dropped) => self.totals.not_sampled += 1,
            Ok(_) => {}
            Err(_) => self.totals.no_room += 1,
        }
        routed.ok()
    }

    fn note_arrival(&mut self, now: Instant) {
        match self.arrivals.back_mut() {
            Some((came, count)) if now.saturating_duration_since(*came) < ARRIVAL_GRAIN => {
                *count = self.begun;
            }
            _ => self.arrivals.push_back((now, self.begun)),
        }
    }

    /// Decides on the trace that has waited longest; false if none waits.
    fn decide_oldest(&mut self, store: &mut Writer<'_>) -> bool {
        let Some(at) = self.gathering.oldest() else {
            return false;
        };
        let Some(id) = self.gathering.trace(at).map(|trace| trace.id) else {
            return false;
        };
        let mut spans: Vec<Waiting<'_>> = self
            .gathering
            .spans_of(at)
            .map(|(_, segment, span)| (segment, span))
            .collect();
        spans.reverse();
        let count = spans.len();
        let hash = self.hasher.hash(id);
        match decide(&self.table, id, &spans) {
            Some(kept) => {
                let note = store.note(&kept);
                let stored = keep((id, hash), note, &spans, store);
                self.totals.kept += stored as u64;
                self.totals.no_room += (count - stored) as u64;
                self.totals.traces_kept += 1;
            }
            None => {
                self.forgotten.insert(id, hash);
                self.totals.not_sampled += count as u64;
                self.totals.traces_dropped += 1;
            }
        }
        self.gathering.take_oldest(hash, count);
        self.decided += 1;
        true
    }
}

/// Where a trace is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Gathering(TraceAt),
    Kept(TraceAt),
    Dropped,
    Nowhere { hash: u64 },
}

/// Copies a trace to the store; returns how many of its spans found room there.
fn keep(id: (TraceId, u64), note: u32, spans: &[Waiting<'_>], store: &mut Writer<'_>) -> usize {
    let mut kept = None;
    let mut stored = 0;
    let mut last = None;
    let mut interned = Interned::default();
    for (segment, span) in spans {
        let Some(source) = segment.sources.get(span.source) else {
            continue;
        };
        let Some(operation) = segment.operations.get(span.operation) else {
            continue;
        };
        let Some(service) = segment.sources.services().get(usize::from(source.service)) else {
            continue;
        };
        let bytes = segment.bytes.as_slice();
        if last != Some((segment.serial, span.source)) {
            last = Some((segment.serial, span.source));
            interned = Interned::default();
        }
        let new = NewSpan {
            body: segment.body(span),
            name: operation.name.of(bytes),
            kind: operation.kind,
            start: span.start,
            duration: span.duration,
            signature: span.signature,
        };
        let source = NewSource {
            resource: &[source.resource.of(bytes)],
            scope: &[source.scope.of(bytes)],
            service: service.of(bytes),
            namespace: source.namespace.of(bytes),
        };
        let done = match kept {
            Some(at) => store.append(at, &new, &source, &mut interned),
            None => store
                .begin(id, note, &new, &source, &mut interned)
                .map(|at| kept = Some(at)),
        };
        stored += usize::from(done.is_ok());
    }
    stored
}
