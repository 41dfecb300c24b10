//! Writing to a store.

use parking_lot::RwLockWriteGuard;

use super::shared::Shared;
use crate::{
    KeepReason, Totals, TraceId,
    log::{Destination, IdHasher, Interned, TraceAt},
    scan::Scanned,
    span::{NewSource, NewSpan},
    totals::NotStored,
};

/// The number of spans of one request that are stored between two evictions. Each takes about a
/// hundred bytes in addition to its encoding, so the store exceeds its bound by at most 2 MiB and
/// these spans.
pub(crate) const SPANS_BETWEEN_EVICTIONS: usize = 1 << 14;

/// The most reasons that are recorded, besides those that name no policy. With the longest names of
/// policies and rules, they take about 8 MiB together.
const MAX_REASONS: usize = 1 << 14;

/// Writes to the store, and evicts traces to keep it within its bound.
pub(crate) struct Writer<'a> {
    shared: RwLockWriteGuard<'a, Shared>,
    hasher: &'a IdHasher,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shared: RwLockWriteGuard<'a, Shared>, hasher: &'a IdHasher) -> Self {
        Self { shared, hasher }
    }

    /// Records a reason, and returns its number, which traces have as their note.
    pub(crate) fn record_reason(&mut self, kept: &KeepReason) -> u32 {
        if let Some(number) = self.shared.reason_numbers.get(kept) {
            return *number;
        }
        let names_policy = !matches!(
            kept,
            KeepReason::NoPolicy | KeepReason::NoRoot | KeepReason::UnnamedPolicy
        );
        if names_policy && self.shared.reasons.len() >= MAX_REASONS {
            return self.record_reason(&KeepReason::UnnamedPolicy);
        }
        // Never removed, since traces hold the numbers.
        let number = self.shared.reasons.len() as u32;
        self.shared.reasons.push(kept.clone());
        self.shared.reason_numbers.insert(kept.clone(), number);
        number
    }

    #[inline]
    pub(crate) fn find(&self, id: TraceId, hash: u64) -> Option<TraceAt> {
        self.shared.log.find(id, hash)
    }

    /// The trace of this ID, or a new one with this note.
    #[inline]
    pub(crate) fn destination(&self, id: TraceId, hash: u64, note: u32) -> Destination {
        match self.find(id, hash) {
            Some(at) => Destination::Known(at),
            None => Destination::New { hash, note },
        }
    }

    /// Appends a span; returns its trace.
    pub(crate) fn append(
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

    /// Accepts a request: appends all its spans, and counts their outcomes.
    pub(crate) fn accept(&mut self, scanned: &Scanned<'_>, note: u32, totals: &mut Totals) {
        let mut last: Option<(TraceId, TraceAt)> = None;
        let mut since_eviction = 0;
        let hashes = self.hasher.hash_all(scanned.trace_ids(), |id, hash| {
            self.find(id, hash).is_some()
        });
        let mut interned = Interned::default();
        for (source, spans) in scanned.by_source(&hashes) {
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

    /// Drops the oldest traces while the store is over its bound. No [`TraceAt`] from before is
    /// valid afterwards.
    pub(crate) fn evict(&mut self) {
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

    use spoor_policy::PolicyName;

    use super::MAX_REASONS;
    use crate::{
        KeepReason, Totals, TraceStore, memory::Reservation, scan::scan, store::tests::request,
    };

    #[test]
    fn recorded_reasons_are_bounded() {
        let store = TraceStore::new(1 << 20);
        let mut writer = store.write();
        let mut note = |kept: &KeepReason| {
            let note = writer.record_reason(kept);
            writer.shared.reasons[note as usize].clone()
        };
        for number in 0..MAX_REASONS {
            let policy = PolicyName::new(format!("policy-{number}")).unwrap();
            let kept = KeepReason::Otherwise { policy };
            assert_eq!(note(&kept), kept);
        }
        for name in ["one", "two"] {
            let policy = PolicyName::new(name).unwrap();
            let kept = KeepReason::Head { policy };
            assert_eq!(note(&kept), KeepReason::UnnamedPolicy);
        }
        assert_eq!(note(&KeepReason::NoPolicy), KeepReason::NoPolicy);
        assert_eq!(writer.shared.reasons.len(), MAX_REASONS + 2);
    }

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
