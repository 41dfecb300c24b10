//! A sampler among others: the rings by which it divides traces, and what its peers report.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::ring::Rings;
use crate::tail::DECISION_RETENTION;

/// The place of a sampler among the samplers of its stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// The ordinal of this sampler.
    pub own: u16,
    /// The rings in force from the start. Without them, requests are refused and no trace is decided
    /// until [`Forwarder::set_rings`](crate::Forwarder::set_rings).
    pub rings: Option<Rings>,
}

/// The rings, the reports of peers and the end of former rings, for a sampler among others.
pub(super) struct Peers {
    pub(super) own: u16,
    rings: Option<Rings>,
    max_trace_duration: Duration,
    /// The bytes of parts that this sampler should hold at most.
    max_pending_bytes: usize,
    /// The last report of each peer.
    reports: BTreeMap<u16, Report>,
    /// The samplers for which a peer has as many parts as it should hold, by its last response.
    saturated: BTreeMap<u16, (u64, Instant)>,
    settling: Settling,
    /// The time of the last record of an earlier process, which may have handed over spans to peers
    /// that have not reported since.
    last_record: Option<Instant>,
}

/// The last report of a peer.
#[derive(Clone, Copy, Debug)]
struct Report {
    received: Instant,
    /// It has nothing for this sampler that was accepted before.
    until: Instant,
    /// It has spans for this sampler.
    has_pending: bool,
}

/// The bytes of parts that a sampler should hold for all others together. They are in memory, too.
const MAX_PENDING_BYTES: u64 = 64 << 20;
/// The journal's limit divided by this is the most bytes of it that they should take.
const PENDING_DIVISOR: u64 = 5;
/// The time for which the saturated samplers in a peer's response count. They need not count for
/// longer, since a peer that does not respond takes no parts anyway.
const MAX_RESPONSE_AGE: Duration = Duration::from_secs(5);

impl Peers {
    /// `journal_bytes` is the limit of the journal, and `last_record` the time of its last record.
    pub(super) fn new(
        settings: &PeerSettings,
        max_trace_duration: Duration,
        journal_bytes: u64,
        last_record: Option<Instant>,
    ) -> Self {
        let max_pending_bytes = MAX_PENDING_BYTES.min(journal_bytes / PENDING_DIVISOR);
        Self {
            own: settings.own,
            rings: settings.rings.clone(),
            max_trace_duration,
            max_pending_bytes: usize::try_from(max_pending_bytes).unwrap_or(usize::MAX),
            reports: BTreeMap::new(),
            saturated: BTreeMap::new(),
            settling: Settling::default(),
            last_record,
        }
    }

    /// The rings in force, unless they are not known yet.
    pub(super) fn rings(&self) -> Option<&Rings> {
        self.rings.as_ref()
    }

    /// Replaces the rings with newer ones; returns whether they are newer.
    pub(super) fn adopt(&mut self, rings: Rings) -> bool {
        match &mut self.rings {
            Some(present) => present.adopt(rings),
            None => {
                self.rings = Some(rings);
                true
            }
        }
    }

    /// The traces that begin from now on have their first spans in this segment of the journal or in
    /// a later one.
    pub(super) fn begin_settling(&mut self, segment: u64) {
        if let Some(rings) = &self.rings {
            self.settling.begin(rings.generation(), segment);
        }
    }

    /// Updates the settled generation. `is_waiting_before` returns whether traces wait that began
    /// before a segment.
    pub(super) fn update_settled(&mut self, now: Instant, is_waiting_before: impl Fn(u64) -> bool) {
        self.settling.update(now, is_waiting_before);
    }

    /// The latest generation that is settled: this sampler knows no trace from before its rings.
    pub(super) fn settled_generation(&self) -> u64 {
        self.settling.settled
    }

    /// Returns whether Collectors may send to this sampler.
    pub(super) fn is_member(&self) -> bool {
        self.has_member(self.own)
    }

    /// Returns whether a sampler is in a ring.
    pub(super) fn has_member(&self, ordinal: u16) -> bool {
        let rings = self.rings.as_ref();
        rings.is_some_and(|rings| rings.has_member(ordinal))
    }

    fn max_members(&self) -> u16 {
        self.rings.as_ref().map_or(0, Rings::max_members)
    }

    /// The other members.
    pub(super) fn others(&self) -> impl Iterator<Item = u16> {
        let own = self.own;
        (0..self.max_members()).filter(move |ordinal| *ordinal != own)
    }

    /// Records a peer's report that it has nothing left for this sampler that was accepted before
    /// `until`.
    pub(super) fn record_report(&mut self, peer: u16, until: Instant, now: Instant) {
        // Without pending spans, `until` is the time of a response, which is made after the report
        // that it responds to.
        let former = self.reports.get(&peer);
        let has_pending = former.is_none_or(|former| until < former.received);
        let report = Report {
            received: now,
            until,
            has_pending,
        };
        self.reports.insert(peer, report);
    }

    /// Traces that are due by this time may be decided. `None` if there are no peers to wait for.
    ///
    /// Spans that were acknowledged before a trace was due may still be in a peer's journal. The
    /// sampler waits for them, but no longer than the longest duration of a trace.
    pub(super) fn decision_time(&self, now: Instant) -> Option<Instant> {
        let earliest = now.checked_sub(self.max_trace_duration).unwrap_or(now);
        let members = self.others().map(|peer| {
            let report = self.reports.get(&peer);
            report.map_or(earliest, |report| report.until)
        });
        // A sampler that is no longer a member may have spans left.
        let former = self.reports.range(self.max_members()..);
        let former = former
            .filter(|(peer, report)| **peer != self.own && report.has_pending)
            .map(|(_, report)| report.until)
            .filter(|until| *until > earliest);
        let until = members.chain(former).min()?;
        Some(until.clamp(earliest, now))
    }

    /// After a restart and until all peers have reported, the time of the last record before the
    /// restart. While there are former rings, a peer may return spans that it received before.
    pub(super) fn unreported_since(&self) -> Option<Instant> {
        let has_not_reported = |peer: u16| !self.reports.contains_key(&peer);
        let is_missing = self.others().any(has_not_reported);
        self.last_record.filter(|_| is_missing)
    }

    /// Records a peer's response that it has too many parts for these samplers, given as bits.
    pub(super) fn set_saturated(&mut self, peer: u16, ordinals: u64, now: Instant) {
        self.saturated.insert(peer, (ordinals, now));
    }

    /// The samplers for which a peer has too many parts, as bits.
    pub(super) fn saturated(&self, now: Instant) -> u64 {
        let responses = self.saturated.values();
        let recent =
            responses.filter(|(_, at)| now.saturating_duration_since(*at) <= MAX_RESPONSE_AGE);
        recent.fold(0, |bits, (ordinals, _)| bits | ordinals)
    }

    /// The bytes of parts for one peer above which Collectors are refused. While there are former
    /// rings, as many may come from each other peer, on their way to the owner.
    pub(super) fn max_pending_bytes(&self) -> usize {
        let others = usize::from(self.max_members()).saturating_sub(1).max(1);
        let has_former = self.rings.as_ref().is_some_and(Rings::has_former);
        let ways = if has_former { others * others } else { others };
        self.max_pending_bytes / ways
    }
}

/// Follows the end of the traces that began before the present rings.
#[derive(Debug, Default)]
struct Settling {
    /// The rings of this generation are settled.
    settled: u64,
    present: Option<Present>,
}

/// Rings that are not settled.
#[derive(Debug)]
struct Present {
    generation: u64,
    /// Traces with their first spans in an earlier segment of the journal began before these rings.
    segment: u64,
    /// The time at which the last of them was decided.
    decided: Option<Instant>,
}

impl Settling {
    fn begin(&mut self, generation: u64, segment: u64) {
        self.present = Some(Present {
            generation,
            segment,
            decided: None,
        });
    }

    fn update(&mut self, now: Instant, is_waiting_before: impl Fn(u64) -> bool) {
        let Some(present) = &mut self.present else {
            return;
        };
        if present.decided.is_none() && !is_waiting_before(present.segment) {
            present.decided = Some(now);
        }
        let is_forgotten =
            |decided: Instant| now.saturating_duration_since(decided) >= DECISION_RETENTION;
        if present.decided.is_some_and(is_forgotten) {
            self.settled = present.generation;
            self.present = None;
        }
    }
}

#[cfg(test)]
mod tests;
