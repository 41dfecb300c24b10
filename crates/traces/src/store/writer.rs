//! Writing to a store.

use parking_lot::RwLockWriteGuard;

use super::shared::Shared;
use crate::{
    KeepReason, Totals, TraceId,
    log::{Destination, IdHasher, Interned, TraceAt},
    output::Output,
    scan::Scanned,
    span::{NewSource, NewSpan},
    totals::NotStored,
};

/// The number of spans of one request that are stored between two evictions. Each takes about a
/// hundred bytes in addition to its encoding, so the store exceeds its bound by at most 2 MiB and
/// these spans.
pub(crate) const SPANS_BETWEEN_EVICTIONS: usize = 1 << 14;

/// Writes to the store, and evicts traces to keep it within its bound.
pub(crate) struct Writer<'a> {
    shared: RwLockWriteGuard<'a, Shared>,
    hasher: &'a IdHasher,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shared: RwLockWriteGuard<'a, Shared>, hasher: &'a IdHasher) -> Self {
        Self { shared, hasher }
    }
}

impl Output for Writer<'_> {
    type Trace = TraceAt;

    fn record_reason(&mut self, kept: &KeepReason) -> u32 {
        self.shared.reasons.number(kept)
    }

    #[inline]
    fn find(&self, id: TraceId, hash: u64) -> Option<TraceAt> {
        self.shared.log.find(id, hash)
    }

    #[inline]
    fn destination(&self, id: TraceId, hash: u64, note: u32) -> Destination {
        match self.find(id, hash) {
            Some(at) => Destination::Known(at),
            None => Destination::New { hash, note },
        }
    }

    fn append(
        &mut self,
        to: Destination,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        interned: &mut Interned,
    ) -> Result<TraceAt, NotStored> {
        // A known trace has not been evicted.
        if let Destination::New { hash, .. } = to
            && self.shared.evicted_ids.contains(hash)
        {
            return Err(NotStored::Late);
        }
        self.shared.log.append(to, span, source, interned)
    }

    fn accept(&mut self, scanned: &Scanned<'_>, note: u32, totals: &mut Totals) {
        let mut last: Option<(TraceId, TraceAt)> = None;
        let mut since_eviction = 0;
        let hashes = self.hasher.hash_all(scanned.trace_ids(), |id, hash| {
            self.find(id, hash).is_some()
        });
        let mut interned = Interned::default();
        for (source, spans) in scanned.by_source(&hashes, None) {
            interned.advance(&source);
            for (span, hash) in spans {
                since_eviction += 1;
                if since_eviction == SPANS_BETWEEN_EVICTIONS {
                    since_eviction = 0;
                    self.evict();
                    // The trace may have been evicted.
                    last = None;
                }
                // Spans of a trace often follow one another: that saves most look-ups.
                let to = match last {
                    Some((last, at)) if last == span.trace_id => Destination::Known(at),
                    _ => self.destination(span.trace_id, hash, note),
                };
                let appended = self.append(to, span, &source, &mut interned);
                totals.count(&appended);
                if let Ok(at) = appended {
                    last = Some((span.trace_id, at));
                }
            }
        }
    }

    fn evict(&mut self) {
        let shared = &mut *self.shared;
        while shared.allocated() > shared.max_bytes {
            let remember = |hash| shared.evicted_ids.remember(hash);
            // Only the active segment is left, which cannot be evicted.
            let Some(evicted) = shared.log.evict_oldest(remember) else {
                break;
            };
            shared.evicted += evicted;
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

    use crate::{
        KeepReason, Totals, TraceStore, memory::Reservation, output::Output, scan::scan,
        store::tests::request,
    };

    #[test]
    fn one_request_stays_near_the_bound() {
        let request = request(1..300_001);
        let max_bytes = 8 << 20;
        let store = TraceStore::new(max_bytes);
        let mut writer = store.write();
        let note = writer.record_reason(&KeepReason::NoPolicy);
        let scanned = scan(&request, &mut Reservation::unbounded()).unwrap();
        let mut totals = Totals::default();
        writer.accept(&scanned, note, &mut totals);
        assert_eq!(totals.kept, 300_000);
        // The writer enforces the bound once more when it is dropped.
        let allocated = writer.shared.allocated();
        assert!(allocated < max_bytes + (4 << 20), "{allocated}");
    }
}
