//! Spans in the order of their arrival, indexed by trace. One log contains the traces that wait for
//! their decision, another the traces that were kept.
//!
//! Memory is allocated and freed by segment, the oldest first. A trace belongs to the segment of
//! its first span; its other spans are in the same segment or later ones. Freeing that segment
//! therefore removes the whole trace, and no remaining trace refers to the freed memory.

mod id_hasher;
mod intern;
mod pointer;
mod removal;
mod segment;
mod shortened;
mod snapshot;

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashTable;
use prost::encoding::encode_varint;

use crate::{
    TraceId,
    span::{NewSource, NewSpan},
    totals::NotStored,
};

pub(crate) use id_hasher::IdHasher;
pub(crate) use intern::{InternTable, Interned, OperationEntry, Part, Source};
pub(crate) use pointer::TraceAt;
pub(crate) use segment::{Mark, Segment, SpanEntry, StoredSource, TraceEntry, is_concatenation};
pub(crate) use snapshot::Snapshot;

use pointer::SpanAt;
use shortened::Shortened;

/// The trace to append a span to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<T = TraceAt> {
    /// A trace that exists there.
    Known(T),
    /// A new trace, with the hash of its ID and its note.
    New { hash: u64, note: u32 },
}

/// The log.
pub(crate) struct Log {
    hasher: IdHasher,
    by_id: HashTable<TraceAt>,
    /// The sealed segments.
    slots: Vec<Option<Arc<Segment>>>,
    /// Their slots, the oldest first.
    order: VecDeque<u16>,
    free: Vec<u16>,
    active: Segment,
    active_slot: u16,
    /// The mark of the traces that begin from now on.
    mark: Mark,
    /// Parts of spans that can be added again are left out of their encoding.
    shortens_spans: bool,
    /// The traces before this one in the oldest segment are removed.
    first_remaining: usize,
    spare: Vec<Segment>,
    serial: u64,
    segment_bytes: usize,
    sealed_bytes: usize,
    spans: usize,
}

/// Traces and spans evicted because of a bound on memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, derive_more::AddAssign)]
pub struct Evicted {
    /// Whole traces.
    pub traces: u64,
    /// Their spans.
    pub spans: u64,
}

/// The most segments in a log: pointers have 16 bits for the slot, and [`SpanAt`] reserves a value.
const MAX_SLOTS: usize = u16::MAX as usize;
/// The most freed segments whose memory is kept for reuse.
const MAX_SPARE_SEGMENTS: usize = 8;
/// The capacity of the index when its first trace is added.
const MIN_INDEX_CAPACITY: usize = 64;
/// A span or source longer than a segment divided by this is long.
const LONG_DIVISOR: usize = 4;
/// The most spans of a trace that are loaded before they are used.
const MAX_LOADED_SPANS: usize = 16;
/// The most bytes of a field's key and length.
pub(crate) const MAX_FIELD_HEADER_BYTES: usize = 6;

impl Log {
    /// Creates a log sized for about `max_bytes`; its owner enforces the bound.
    pub(crate) fn new(max_bytes: usize, hasher: IdHasher) -> Self {
        // Eviction frees a whole segment, so a segment is a small part of the bound. Full segments
        // take half of the slots at most; the others are for segments whose spans or sources run
        // out of indices before their bytes do.
        let segment_bytes = (max_bytes / 64)
            .clamp(8 << 10, 1 << 20)
            .max(max_bytes / (MAX_SLOTS / 2));
        Self {
            hasher,
            by_id: HashTable::new(),
            // The slot of the active segment, which is empty until that is sealed.
            slots: vec![None],
            order: VecDeque::new(),
            free: Vec::new(),
            active: Segment::new(1, segment_bytes),
            active_slot: 0,
            mark: Mark::default(),
            shortens_spans: false,
            first_remaining: 0,
            spare: Vec::new(),
            serial: 1,
            segment_bytes,
            sealed_bytes: 0,
            spans: 0,
        }
    }

    /// Saves the memory of the trace IDs and times in the encoded spans, which are then complete
    /// only as [`Segment::read`] returns them.
    pub(crate) fn with_shortened_spans(self) -> Self {
        Self {
            shortens_spans: true,
            ..self
        }
    }

    /// The number of traces.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The number of spans.
    pub(crate) fn spans(&self) -> usize {
        self.spans
    }

    /// The memory in use, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        self.sealed_bytes
            + self.active.allocated()
            + self.by_id.allocation_size()
            + self.spare.iter().map(Segment::allocated).sum::<usize>()
    }

    /// Finds a trace by its ID and the ID's hash from the log's hasher.
    #[inline]
    pub(crate) fn find(&self, id: TraceId, hash: u64) -> Option<TraceAt> {
        let is_equal = |at: &TraceAt| self.trace(*at).is_some_and(|trace| trace.id == id);
        self.by_id.find(hash, is_equal).copied()
    }

    #[inline]
    pub(crate) fn segment(&self, slot: u16) -> Option<&Segment> {
        if slot == self.active_slot {
            Some(&self.active)
        } else {
            self.slots.get(usize::from(slot))?.as_deref()
        }
    }

    /// A trace's entry.
    #[inline]
    pub(crate) fn trace(&self, at: TraceAt) -> Option<&TraceEntry> {
        self.segment(at.slot())?.traces.get(at.index())
    }

    /// Marks the traces that begin from now on. Unlike a note, a mark takes memory only where it
    /// differs from that of the trace before.
    pub(crate) fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// A trace's mark.
    pub(crate) fn mark(&self, at: TraceAt) -> Mark {
        let segment = self.segment(at.slot());
        let mark = segment.map(|segment| segment.mark(at.index()));
        mark.unwrap_or_default()
    }

    /// The spans of a trace, from the last to the first.
    pub(crate) fn spans_of(
        &self,
        at: TraceAt,
    ) -> impl Iterator<Item = (u16, &Segment, &SpanEntry)> {
        let mut next = self.trace(at).and_then(TraceEntry::last);
        std::iter::from_fn(move || {
            let span = next?;
            let segment = self.segment(span.slot())?;
            let entry = segment.spans.get(span.index())?;
            next = entry.previous;
            Some((span.slot(), segment, entry))
        })
    }

    /// Reads the entries of some traces' last spans, which only warms the processor's cache. The
    /// traces take turns, so that the processor overlaps their cache misses.
    pub(crate) fn load_spans(&self, traces: &[TraceAt]) {
        let last = traces.iter().filter_map(|at| self.trace(*at)?.last());
        let mut spans: Vec<SpanAt> = last.collect();
        for _ in 0..MAX_LOADED_SPANS {
            spans.retain_mut(|span| match self.previous(*span) {
                Some(previous) => {
                    *span = previous;
                    true
                }
                None => false,
            });
        }
        // The compiler must not remove the look-ups.
        std::hint::black_box(spans);
    }

    fn previous(&self, span: SpanAt) -> Option<SpanAt> {
        self.segment(span.slot())?.spans.get(span.index())?.previous
    }

    /// Appends a span; returns its trace.
    pub(crate) fn append(
        &mut self,
        to: Destination,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) -> Result<TraceAt, NotStored> {
        // May start another segment, so it comes first: a trace belongs to the segment of its
        // first span.
        self.make_room(span, source, interned)?;
        let trace = match to {
            Destination::Known(at) => at,
            Destination::New { hash, note } => {
                let at = TraceAt::new(self.active_slot, self.active.traces.len());
                let trace = TraceEntry::new(span.trace_id, note);
                self.active.add_trace(trace, self.mark);
                self.index_trace(hash, at);
                at
            }
        };
        self.write(trace, span, source, interned);
        Ok(trace)
    }

    /// Adds a trace to the index.
    fn index_trace(&mut self, hash: u64, at: TraceAt) {
        if self.by_id.len() == self.by_id.capacity() {
            self.grow();
        }
        // The table has room, so it does not grow and calls no hasher.
        self.by_id.insert_unique(hash, at, |_| hash);
    }

    /// Doubles the table's capacity. It is rebuilt from the segments in their order, which is much
    /// faster than following the pointers of the old table.
    #[cold]
    fn grow(&mut self) {
        let mut larger = HashTable::with_capacity((self.by_id.len() * 2).max(MIN_INDEX_CAPACITY));
        let newest = self.active_slot;
        for slot in self.order.iter().copied().chain([newest]) {
            let Some(segment) = self.segment(slot) else {
                continue;
            };
            // The last trace of the newest segment is being added and not in the table yet.
            let count = segment.traces.len() - usize::from(slot == newest);
            let traces = segment.traces.iter().take(count).enumerate();
            for (index, trace) in traces.filter(|(_, trace)| !trace.is_removed()) {
                let hash = self.hasher.hash(trace.id);
                larger.insert_unique(hash, TraceAt::new(slot, index), |_| hash);
            }
        }
        self.by_id = larger;
    }

    fn write(
        &mut self,
        trace: TraceAt,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) {
        let active = &mut self.active;
        // Indices belong to one segment; a new segment starts with empty tables.
        if interned.serial != active.serial {
            let sibling = interned.sibling_in(active);
            let index = active.intern_source(source, sibling);
            let added = active.sources.get(index).copied().unwrap_or_default();
            *interned = Interned {
                serial: active.serial,
                source: index,
                service: added.service,
                sibling: Some((active.serial, added)),
                ..Interned::default()
            };
        }
        let operation = active.intern_operation(interned.service, span);
        let offset = active.bytes.len() as u32;
        let shortened = match self.shortens_spans {
            true => Shortened::new(span),
            false => None,
        };
        match shortened {
            Some(shortened) => shortened.write(&mut active.bytes),
            None => write_field(&mut active.bytes, span.body),
        }
        active.latest_start = active.latest_start.max(span.start);
        let index = active.spans.len();
        let Some(at) = SpanAt::new(self.active_slot, index) else {
            return;
        };
        let Some(entry) = self.trace(trace) else {
            return;
        };
        // The trace may be in a sealed segment, which searches read: its links are atomic.
        let previous = entry.link(at, span.start);
        self.active.spans.push(SpanEntry {
            start: span.start,
            duration: span.duration,
            signature: span.signature,
            trace,
            previous,
            offset,
            operation,
            source: interned.source,
        });
        self.spans += 1;
    }

    #[inline]
    fn make_room(
        &mut self,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &Interned,
    ) -> Result<(), NotStored> {
        let mut bytes = span.body.len() + span.name.len() + MAX_FIELD_HEADER_BYTES;
        if interned.serial != self.active.serial {
            bytes += source.max_bytes();
        }
        if self.active.has_room(bytes) {
            Ok(())
        } else {
            self.make_room_slow(bytes, source, interned)
        }
    }

    /// The slow path of [`Self::make_room`]: starts another segment, unless the active one already
    /// has the span's long source and room for the rest. A copy of such a source for each span
    /// would take many times the request's memory.
    #[cold]
    fn make_room_slow(
        &mut self,
        bytes: usize,
        source: &NewSource<'_>,
        interned: &Interned,
    ) -> Result<(), NotStored> {
        let source_bytes = source.max_bytes();
        if interned.serial == self.active.serial {
            // The next segment does not have the source.
            return self.roll(bytes + source_bytes);
        }
        let known = match source_bytes > self.segment_bytes / LONG_DIVISOR {
            true => {
                let sibling = interned.sibling_in(&self.active);
                self.active.known_bytes(source, sibling)
            }
            false => 0,
        };
        if known > 0 && self.active.has_room(bytes - known) {
            return Ok(());
        }
        self.roll(bytes)
    }

    /// Seals the active segment and starts another.
    #[cold]
    fn roll(&mut self, bytes: usize) -> Result<(), NotStored> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push(None);
                (self.slots.len() - 1) as u16
            }
            None => return Err(NotStored::Full),
        };
        self.serial += 1;
        // A long span or source gets a larger segment, which has room for others, too.
        let next = if bytes > self.segment_bytes / LONG_DIVISOR {
            Segment::new(self.serial, bytes + self.segment_bytes)
        } else if let Some(mut spare) = self.spare.pop() {
            spare.recycle(self.serial);
            spare
        } else {
            Segment::new(self.serial, self.segment_bytes)
        };
        let mut sealed = std::mem::replace(&mut self.active, next);
        // Sized like the last segment, since the next one is usually similar.
        self.active.spans.reserve(sealed.spans.len());
        self.active.traces.reserve(sealed.traces.len());
        sealed.seal();
        self.sealed_bytes += sealed.allocated();
        self.order.push_back(self.active_slot);
        if let Some(entry) = self.slots.get_mut(usize::from(self.active_slot)) {
            *entry = Some(Arc::new(sealed));
        }
        self.active_slot = slot;
        Ok(())
    }

    /// Drops the oldest sealed segment, if any, with all its traces, and calls `on_evicted` with
    /// the hash of each trace ID.
    pub(crate) fn evict_oldest(&mut self, mut on_evicted: impl FnMut(u64)) -> Option<Evicted> {
        let slot = *self.order.front()?;
        // The segment stays in its slot during this, since the table's pointers refer to it.
        let segment = self.slots.get(usize::from(slot))?.clone()?;
        let mut evicted = Evicted::default();
        for index in 0..segment.traces.len() {
            let at = TraceAt::new(slot, index);
            // Its spans in later segments are unreachable from now on, and are freed with those.
            evicted.spans += self.spans_of(at).count() as u64;
            evicted.traces += 1;
            if let Some(hash) = self.unindex_trace(at) {
                on_evicted(hash);
            }
        }
        drop(segment);
        self.spans -= evicted.spans as usize;
        self.release_oldest();
        Some(evicted)
    }

    /// Frees the oldest sealed segment, whose traces are not in the index.
    fn release_oldest(&mut self) {
        let Some(slot) = self.order.pop_front() else {
            return;
        };
        self.free.push(slot);
        let Some(segment) = self.vacate(slot) else {
            return;
        };
        self.sealed_bytes -= segment.allocated();
        // A segment that a reader of a snapshot still holds is freed once the reader drops it.
        if let Ok(segment) = Arc::try_unwrap(segment) {
            self.keep_spare(segment);
        }
    }

    /// Removes a trace from the index and returns the hash of its ID.
    fn unindex_trace(&mut self, at: TraceAt) -> Option<u64> {
        let id = self.trace(at)?.id;
        let hash = self.hasher.hash(id);
        if let Ok(entry) = self.by_id.find_entry(hash, |known| *known == at) {
            entry.remove();
        }
        Some(hash)
    }

    fn vacate(&mut self, slot: u16) -> Option<Arc<Segment>> {
        self.slots.get_mut(usize::from(slot))?.take()
    }

    /// Keeps a segment's memory for reuse.
    fn keep_spare(&mut self, segment: Segment) {
        // A segment of another size was made for a long span or source; keeping it would waste
        // memory.
        if self.spare.len() < MAX_SPARE_SEGMENTS && segment.bytes.capacity() == self.segment_bytes {
            self.spare.push(segment);
        }
    }
}

/// Writes a span as a field of `ScopeSpans`.
fn write_field(bytes: &mut Vec<u8>, body: &[u8]) {
    bytes.push(CHILDREN_KEY);
    encode_varint(body.len() as u64, bytes);
    bytes.extend_from_slice(body);
}

/// The key of both `ScopeSpans.spans` and `ResourceSpans.scope_spans`.
pub(crate) const CHILDREN_KEY: u8 = 2 << 3 | 2;

#[cfg(test)]
mod tests;
