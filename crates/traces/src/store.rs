//! The store: traces in memory.
//!
//! The bytes of spans are stored as received, in a [`Log`](crate::log::Log), together with columns
//! by which a search skips most spans without reading their bytes.

mod assemble;
mod evicted;
mod query;
mod search;
mod shared;
mod trace;
mod writer;

pub use search::{Search, StoredOperation};
pub use trace::{StoredTrace, TraceTooLarge};

pub(crate) use writer::{SPANS_BETWEEN_EVICTIONS, Writer};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use parking_lot::RwLock;

use crate::{
    KeepReason, ScanError, Totals, TraceId,
    log::{Evicted, IdHasher, OperationEntry, Snapshot},
    memory::Reservation,
    output::Output,
    scan,
};
use shared::Shared;

/// The traces kept, bounded in bytes; the oldest is evicted first. Cheap to clone.
#[derive(Clone, derive_more::Debug)]
#[debug("TraceStore({:?})", self.occupancy())]
pub struct TraceStore {
    shared: Arc<RwLock<Shared>>,
    pub(crate) hasher: IdHasher,
}

/// The store's contents and evictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Traces stored.
    pub traces: usize,
    /// Spans stored.
    pub spans: usize,
    /// Memory used, in bytes.
    pub bytes: usize,
    /// The bound on that memory, in bytes.
    pub max_bytes: usize,
    /// The evictions that the bound caused, since the start.
    pub evicted: Evicted,
}

impl TraceStore {
    /// An empty store that evicts traces once it uses more than `max_bytes` of memory.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let hasher = IdHasher::default();
        let shared = Shared::new(max_bytes, hasher.clone());
        Self {
            shared: Arc::new(RwLock::new(shared)),
            hasher,
        }
    }

    /// Accepts an encoded `ExportTraceServiceRequest`: stores all its valid spans, except those of
    /// traces that were evicted. Returns how many it stored.
    ///
    /// # Errors
    /// [`ScanError`] if it cannot be decoded.
    pub fn accept(&self, request: &[u8], kept: &KeepReason) -> Result<usize, ScanError> {
        let scanned = scan::scan(request, &mut Reservation::unbounded())?;
        let mut writer = self.write();
        let note = writer.record_reason(kept);
        let mut totals = Totals::default();
        writer.accept(&scanned, note, &mut totals);
        Ok(usize::try_from(totals.kept).unwrap_or(usize::MAX))
    }

    /// The trace with this ID, of any size.
    #[must_use]
    pub fn trace(&self, id: TraceId) -> Option<StoredTrace> {
        self.trace_within(id, usize::MAX).ok().flatten()
    }

    /// The trace with this ID, if it has at most `max_bytes`.
    ///
    /// # Errors
    /// [`TraceTooLarge`] if it is larger. If its spans alone are, nothing is copied.
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
        let Some(kept) = shared.reasons.get(entry.note()).cloned() else {
            return Ok(None);
        };
        // Copied under the lock: writers wait until at most `max_bytes` are copied.
        let resource_spans = assemble::resource_spans(&shared.log, at, max_bytes);
        Ok(Some(StoredTrace {
            id,
            kept,
            resource_spans: resource_spans.ok_or(TraceTooLarge)?,
        }))
    }

    /// The IDs of the traces that match, the newest first.
    #[must_use]
    pub fn find(&self, search: &Search) -> Vec<TraceId> {
        self.find_while(search, &|| true).unwrap_or_default()
    }

    /// Finds traces as [`Self::find`] does, but returns `None` once `proceed` returns false.
    pub(crate) fn find_while(
        &self,
        search: &Search,
        proceed: &dyn Fn() -> bool,
    ) -> Option<Vec<TraceId>> {
        let snapshot = self.snapshot();
        // Searches without the lock, since that may take long.
        query::find(&snapshot, search, proceed)
    }

    /// The names of the services that have spans, sorted. The name is empty for spans without one.
    /// Names of more than 512 bytes are left out.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        self.services_while(&mut |_| true)
    }

    /// The names of services, until a limit is reached.
    pub(crate) fn services_while(&self, limit: Limit<'_>) -> Vec<String> {
        let mut found = Names::new();
        for (_, segment) in self.snapshot().newest_first() {
            let names = segment.services.iter().map(|name| name.of(&segment.bytes));
            if !collect(&mut found, names.map(|name| (name, 0)), limit) {
                break;
            }
        }
        found.into_values().flatten().collect()
    }

    /// A snapshot of the log.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.shared.read().log.snapshot()
    }

    /// The operations of a service, of one kind or of all kinds, sorted. Names of more than 512
    /// bytes are left out.
    #[must_use]
    pub fn operations(&self, service: &str, kind: Option<SpanKind>) -> Vec<StoredOperation> {
        self.operations_while(service, kind, &mut |_| true)
    }

    /// The operations of a service, until a limit is reached.
    pub(crate) fn operations_while(
        &self,
        service: &str,
        kind: Option<SpanKind>,
        limit: Limit<'_>,
    ) -> Vec<StoredOperation> {
        let is_selected = |of: u8| kind.is_none_or(|kind| kind as i32 == i32::from(of));
        let kind_of = |it: &OperationEntry| is_selected(it.kind).then_some(it.kind);
        let (found, _) = self.operation_names(service, kind_of, limit);
        let operations = found.into_iter().flat_map(|(kind, names)| {
            let kind = SpanKind::try_from(i32::from(kind)).unwrap_or(SpanKind::Unspecified);
            let operation = move |name| StoredOperation { name, kind };
            names.into_iter().map(operation)
        });
        operations.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The names of a service's spans without a parent; `None` if there are more than `max`, or if
    /// they are not read before the deadline. Names of more than 512 bytes are left out.
    #[must_use]
    pub fn root_operations(
        &self,
        deadline: Instant,
        service: &str,
        max: usize,
    ) -> Option<BTreeSet<String>> {
        let mut left = max;
        let mut limit = |bytes: usize| match bytes {
            0 => Instant::now() < deadline,
            _ => {
                let fits = left > 0;
                left = left.saturating_sub(1);
                fits
            }
        };
        // All under one kind, so that a name with several counts once.
        let kind_of = |it: &OperationEntry| it.is_root.then_some(0);
        let (found, is_complete) = self.operation_names(service, kind_of, &mut limit);
        is_complete.then(|| found.into_values().flatten().collect())
    }

    /// The names of a service's operations by the kinds that `kind_of` selects, until a limit is
    /// reached; then the second value is false.
    fn operation_names(
        &self,
        service: &str,
        kind_of: impl Fn(&OperationEntry) -> Option<u8>,
        limit: Limit<'_>,
    ) -> (Names, bool) {
        let mut found = Names::new();
        for (_, segment) in self.snapshot().newest_first() {
            let services = query::services_named(&segment, service);
            let all = segment.operations.iter();
            let of_service = all.filter(|it| services.binary_search(&it.service).is_ok());
            let names = of_service.filter_map(|it| {
                let kind = kind_of(it)?;
                Some((it.name.of(&segment.bytes), kind))
            });
            if !collect(&mut found, names, limit) {
                return (found, false);
            }
        }
        (found, true)
    }

    /// The number of traces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.read().log.len()
    }

    /// Returns whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contents and evictions.
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

    /// Locks the store for one request or a few decisions.
    pub(crate) fn write(&self) -> Writer<'_> {
        Writer::new(self.shared.write(), &self.hasher)
    }
}

/// A limit on the names collected: called before each new name with the memory that it takes, in
/// bytes, and once per segment with 0. Collecting stops when it returns false.
pub(crate) type Limit<'a> = &'a mut dyn FnMut(usize) -> bool;

/// The longest name that is listed, in bytes. Otherwise three names of 12 MB, which OTLP allows,
/// would make the list too large for any client.
const MAX_LISTED_NAME_BYTES: usize = 512;

/// The memory of a listed name in addition to its bytes, in the sets, lists and messages that it
/// passes through, some of which copy it.
const EXTRA_BYTES_PER_NAME: usize = 4 * size_of::<StoredOperation>();

/// The longest time that one read of the store takes.
pub(crate) const MAX_READ_TIME: Duration = Duration::from_secs(10);

/// Names by the kind of their spans; services are all under 0. They are copied, since the segment
/// that they were read from may be evicted.
type Names = BTreeMap<u8, BTreeSet<String>>;

/// Adds the names of a segment that are new. Returns false if the limit is reached.
fn collect<'s>(
    found: &mut Names,
    names: impl Iterator<Item = (&'s [u8], u8)>,
    limit: Limit<'_>,
) -> bool {
    // A segment without any new name takes time, too, during which the client may disconnect.
    if !limit(0) {
        return false;
    }
    for (name, kind) in names.filter(|(name, _)| name.len() <= MAX_LISTED_NAME_BYTES) {
        let name = String::from_utf8_lossy(name);
        let of_kind = found.entry(kind).or_default();
        if of_kind.contains(&*name) {
            continue;
        }
        if !limit(2 * name.len() + EXTRA_BYTES_PER_NAME) {
            return false;
        }
        of_kind.insert(name.into_owned());
    }
    true
}

#[cfg(test)]
mod tests;
