//! Keeps traces in memory.
//!
//! The bytes of spans are kept as they came, in a [`Log`]; columns beside them say enough for a
//! search to pass over most spans without looking at their bytes.

mod assemble;
mod evicted;
mod query;
mod search;
mod trace;

pub use search::{Operation, Search};
pub use trace::{StoredTrace, TraceTooLarge};

use evicted::EvictedIds;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::{
    Kept, ScanError, TraceId,
    log::{Full, IdHasher, Interned, Log, TraceAt},
    memory::Share,
    scan::{self, Scanned},
    span::{NewSource, NewSpan},
};

/// The traces kept, bounded in bytes, the oldest out first. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<RwLock<Shared>>,
    hasher: IdHasher,
}

struct Shared {
    log: Log,
    max_bytes: usize,
    reasons: Vec<Kept>,
    reason_numbers: HashMap<Kept, u32>,
    evicted: Evicted,
    evicted_ids: EvictedIds,
}

impl Shared {
    fn allocated(&self) -> usize {
        self.log.allocated() + self.evicted_ids.allocated()
    }
}

/// The reason that a span is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room for it.
    Full,
    /// Its trace was here and had to go: it would start the trace again as a part of it.
    Late,
}

impl From<Full> for Refused {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// The outcomes of some spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) kept: u64,
    pub(crate) late: u64,
    pub(crate) no_room: u64,
}

impl Stored {
    pub(crate) fn count<T>(&mut self, outcome: &Result<T, Refused>) {
        match outcome {
            Ok(_) => self.kept += 1,
            Err(Refused::Late) => self.late += 1,
            Err(Refused::Full) => self.no_room += 1,
        }
    }
}

/// The store's contents and evictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Traces held.
    pub traces: usize,
    /// Spans held.
    pub spans: usize,
    /// Memory taken, in bytes.
    pub bytes: usize,
    /// The bound on that memory, in bytes.
    pub max_bytes: usize,
    /// The evictions because of the bound, since the start.
    pub evicted: Evicted,
}

/// Traces and spans evicted because of a bound on memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Whole traces.
    pub traces: u64,
    /// Their spans.
    pub spans: u64,
}

impl Store {
    /// An empty store that takes at most so many bytes.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let hasher = IdHasher::default();
        let shared = Shared {
            log: Log::new(max_bytes, hasher.clone()),
            max_bytes,
            reasons: Vec::new(),
            reason_numbers: HashMap::new(),
            evicted: Evicted::default(),
            evicted_ids: EvictedIds::new(max_bytes),
        };
        Self {
            shared: Arc::new(RwLock::new(shared)),
            hasher,
        }
    }

    /// Stores all valid spans of an encoded `ExportTraceServiceRequest`, but those of traces that
    /// were evicted; returns how many.
    ///
    /// # Errors
    /// [`ScanError`] if it cannot be decoded.
    pub fn insert(&self, request: &[u8], kept: &Kept) -> Result<usize, ScanError> {
        let scanned = scan::scan(request, &mut Share::unbounded())?;
        let mut writer = self.write();
        let note = writer.note(kept);
        let kept = writer.insert(&scanned, note).kept;
        Ok(usize::try_from(kept).unwrap_or(usize::MAX))
    }

    /// The trace with this id, however large it is.
    #[must_use]
    pub fn trace(&self, id: TraceId) -> Option<StoredTrace> {
        self.trace_within(id, usize::MAX).ok().flatten()
    }

    /// The trace with this id, if it has at most so many bytes.
    ///
    /// # Errors
    /// [`TraceTooLarge`] if it has more; then nothing is copied.
    pub fn trace_within(
        &self,
        id: TraceId,
        max_bytes: usize,
    ) -> Result<Option<StoredTrace>, TraceTooLarge> {
        let hash = self.hasher.hash(id);
        let shared = self.shared.read();
        let found = shared.log.find(id, hash);
        let Some((at, entry)) = found.and_then(|at| Some((at, shared.log.trace(at)?))) else {
            return Ok(None);
        };
        let Some(kept) = shared.reasons.get(entry.note() as usize).cloned() else {
            return Ok(None);
        };
        let resource_spans = assemble::resource_spans(&shared.log, at, max_bytes);
        Ok(Some(StoredTrace {
            id,
            kept,
            resource_spans: resource_spans.ok_or(TraceTooLarge)?,
        }))
    }

    /// The traces that match, the newest first, all in memory at the same time.
    #[must_use]
    pub fn search(&self, search: &Search) -> Vec<StoredTrace> {
        let ids = self.find(search);
        ids.into_iter().filter_map(|id| self.trace(id)).collect()
    }

    /// The ids of the traces that match, the newest first.
    #[must_use]
    pub fn find(&self, search: &Search) -> Vec<TraceId> {
        self.find_while(search, &|| true)
    }

    /// The same, but a search that is no longer wanted ends with what it has.
    pub(crate) fn find_while(&self, search: &Search, is_wanted: &dyn Fn() -> bool) -> Vec<TraceId> {
        let snapshot = self.shared.read().log.snapshot();
        query::find(&snapshot, search, is_wanted)
    }

    /// The names of the services that have spans here, sorted; an empty one when spans name none.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let snapshot = self.shared.read().log.snapshot();
        let mut names = HashSet::new();
        for segment in snapshot.newest_first() {
            names.extend(
                segment
                    .sources
                    .services()
                    .iter()
                    .map(|name| name.of(&segment.bytes)),
            );
        }
        let names: BTreeSet<_> = names
            .into_iter()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        names.into_iter().map(String::from).collect()
    }

    /// The names of a service's spans, of one kind or of all, sorted.
    #[must_use]
    pub fn operations(&self, service: &str, kind: Option<SpanKind>) -> Vec<Operation> {
        let snapshot = self.shared.read().log.snapshot();
        let mut found = HashSet::new();
        for segment in snapshot.newest_first() {
            let services = query::services_named(segment, service);
            if services.is_empty() {
                continue;
            }
            let of_service = segment.operations.iter().filter(|operation| {
                services.contains(&operation.service)
                    && kind.is_none_or(|kind| kind as i32 == i32::from(operation.kind))
            });
            found.extend(of_service.map(|it| (it.name.of(&segment.bytes), it.kind)));
        }
        let all = found.into_iter().map(|(name, kind)| Operation {
            name: String::from_utf8_lossy(name).into_owned(),
            kind: SpanKind::try_from(i32::from(kind)).unwrap_or(SpanKind::Unspecified),
        });
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The number of traces in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.read().log.len()
    }

    /// Returns whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its contents and evictions.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let shared = self.shared.read();
        Occupancy {
            traces: shared.log.len(),
            spans: shared.log.spans(),
            bytes: shared.allocated(),
            max_bytes: shared.max_bytes,
            evicted: shared.evicted,
        }
    }

    pub(crate) fn hasher(&self) -> &IdHasher {
        &self.hasher
    }

    /// Locks the store for one request or a few decisions.
    pub(crate) fn write(&self) -> Writer<'_> {
        Writer {
            shared: self.shared.write(),
            hasher: &self.hasher,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.occupancy()).finish()
    }
}

/// Spans of one request that are stored before the bound is enforced again. Each takes about a
/// hundred bytes beside its own, so that the store exceeds its bound by 2 MiB and these spans.
pub(crate) const SPANS_BETWEEN_EVICTIONS: usize = 1 << 14;

/// Adds to the store, and keeps it within its bound.
pub(crate) struct Writer<'a> {
    shared: RwLockWriteGuard<'a, Shared>,
    hasher: &'a IdHasher,
}

impl Writer<'_> {
    /// The number of a reason to keep a trace.
    pub(crate) fn note(&mut self, kept: &Kept) -> u32 {
        if let Some(number) = self.shared.reason_numbers.get(kept) {
            return *number;
        }
        let number = self.shared.reasons.len() as u32;
        self.shared.reasons.push(kept.clone());
        self.shared.reason_numbers.insert(kept.clone(), number);
        number
    }

    #[inline]
    pub(crate) fn find(&self, id: TraceId, hash: u64) -> Option<TraceAt> {
        self.shared.log.find(id, hash)
    }

    pub(crate) fn begin(
        &mut self,
        id: (TraceId, u64),
        note: u32,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) -> Result<TraceAt, Refused> {
        if self.shared.evicted_ids.contains(id.1) {
            return Err(Refused::Late);
        }
        Ok(self.shared.log.begin(id, note, span, source, interned)?)
    }

    pub(crate) fn append(
        &mut self,
        trace: TraceAt,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) -> Result<(), Refused> {
        Ok(self.shared.log.append(trace, span, source, interned)?)
    }

    /// Stores all spans of a request.
    pub(crate) fn insert(&mut self, scanned: &Scanned<'_>, note: u32) -> Stored {
        let mut stored = Stored::default();
        let mut last: Option<(TraceId, TraceAt)> = None;
        let mut interned = vec![Interned::default(); scanned.scopes.len()];
        let hashes = self.hasher.warm(scanned.trace_ids(), |id, hash| {
            self.find(id, hash).is_some()
        });
        for (index, (span, hash)) in scanned.spans.iter().zip(hashes).enumerate() {
            if index % SPANS_BETWEEN_EVICTIONS == SPANS_BETWEEN_EVICTIONS - 1 {
                self.evict();
                last = None;
            }
            let Some(source) = scanned.source(span) else {
                continue;
            };
            let Some(interned) = interned.get_mut(span.scope as usize) else {
                continue;
            };
            let new = NewSpan::from(span);
            let id = span.trace_id;
            let known = match last {
                Some((last, at)) if last == id => Some(at),
                _ => self.find(id, hash),
            };
            let at = match known {
                Some(at) => self.append(at, &new, &source, interned).map(|()| at),
                None => self.begin((id, hash), note, &new, &source, interned),
            };
            stored.count(&at);
            if let Ok(at) = at {
                last = Some((id, at));
            }
        }
        stored
    }
}

impl Writer<'_> {
    /// Drops the oldest traces while the store is over its bound. No [`TraceAt`] from before is
    /// valid afterwards.
    pub(crate) fn evict(&mut self) {
        let shared = &mut *self.shared;
        while shared.allocated() > shared.max_bytes {
            let remember = |hash| shared.evicted_ids.remember(hash);
            let Some(evicted) = shared.log.evict_oldest(remember) else {
                break;
            };
            shared.evicted.traces += evicted.traces;
            shared.evicted.spans += evicted.spans;
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.evict();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use prost::Message;

    use super::Store;
    use crate::{Kept, memory::Share, scan::scan};

    #[test]
    fn one_request_does_not_exceed_the_bound() {
        let spans = (1..=300_000_u64).map(|number| Span {
            trace_id: u128::from(number).to_be_bytes().to_vec(),
            span_id: number.to_be_bytes().to_vec(),
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans {
            spans: spans.collect(),
            ..ScopeSpans::default()
        }];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans,
                ..ResourceSpans::default()
            }],
        }
        .encode_to_vec();
        let max_bytes = 8 << 20;
        let store = Store::new(max_bytes);
        let mut writer = store.write();
        let note = writer.note(&Kept::NoPolicy);
        let scanned = scan(&request, &mut Share::unbounded()).unwrap();
        assert_eq!(writer.insert(&scanned, note).kept, 300_000);
        // The writer enforces the bound once more when it is dropped.
        let before_that = writer.shared.allocated();
        assert!(before_that < max_bytes + (4 << 20), "{before_that}");
    }
}
