//! The division of requests among samplers, and the parts for them.

use std::{collections::BTreeSet, time::Instant};

use super::State;
use crate::{
    TraceId,
    forward::{
        division::{Divided, Division, Part},
        journal::{Appended, JournalId},
        peers::Peers,
        queues::{Forward, QueuedPart},
        ring::{Rings, Visited},
    },
    receiver::AcceptError,
    scan::Scanned,
};

impl State {
    /// Returns whether the rings are not known yet.
    pub(in crate::forward) fn is_learning(&self) -> bool {
        let peers = self.peers.as_ref();
        peers.is_some_and(|peers| peers.rings().is_none())
    }

    /// The rings in force and this sampler's ordinal, by which requests are divided.
    pub(in crate::forward) fn rings(&self) -> Option<(&Rings, u16)> {
        let peers = self.peers.as_ref()?;
        Some((peers.rings()?, peers.own))
    }

    /// The last sequence received of a peer's journal.
    pub(in crate::forward) fn received(&self, from: JournalId) -> u64 {
        let received = self.senders.lock().received(from);
        received.unwrap_or_default()
    }

    /// Delays decisions on traces that peers, or senders after an interruption, may have spans of.
    pub(in crate::forward) fn wait_for_spans(&mut self, now: Instant) {
        let peers = self.peers.as_ref();
        let until = peers.and_then(|peers| peers.decision_time(now));
        self.sampler.set_due_until(until);
        let until = self.input.postponed_until(now);
        self.sampler.set_postponed_until(until);
    }

    /// Checks that a request from a Collector may be accepted: this sampler is a member of a ring,
    /// its journal has room, and no owner of the traces is saturated, since this sampler would have
    /// to hold the spans for it.
    pub(in crate::forward) fn check_peers(
        &self,
        scanned: &Scanned<'_>,
        is_journal_nearly_full: bool,
    ) -> Result<(), AcceptError> {
        let Some(peers) = &self.peers else {
            return Ok(());
        };
        let Some(rings) = peers.rings().filter(|_| peers.is_member()) else {
            return Err(AcceptError::NotServing);
        };
        // The rest of the journal is for the parts of peers. If these were refused because of spans
        // from Collectors, two full samplers would refuse each other's parts.
        if rings.max_members() > 1 && is_journal_nearly_full {
            return Err(AcceptError::Journal);
        }
        let full = self.saturated() | peers.saturated(Instant::now());
        let is_for_full = |trace: TraceId| rings.has_owner_among(trace, full);
        if full != 0 && scanned.trace_ids().any(is_for_full) {
            return Err(AcceptError::PeerFull);
        }
        Ok(())
    }

    /// The samplers for which this one has as many parts as it should hold, as bits.
    pub(in crate::forward) fn saturated(&self) -> u64 {
        let peers = self.peers.as_ref();
        peers.map_or(0, |peers| self.parts.saturated(peers.max_pending_bytes()))
    }

    /// The division of a request: `divided`, unless the rings have changed since.
    pub(in crate::forward) fn divide<'a>(
        &self,
        scanned: &Scanned<'_>,
        visited: Visited,
        divided: Option<Divided<'a>>,
    ) -> Divided<'a> {
        let generation = self.rings().map(|(rings, _)| rings.generation());
        let is_current = |it: &Divided<'_>| Some(it.division.generation) == generation;
        divided.filter(is_current).unwrap_or_else(|| Divided {
            division: self.divide_again(scanned, visited),
            staying: None,
        })
    }

    fn divide_again(&self, scanned: &Scanned<'_>, visited: Visited) -> Division {
        let Some((rings, own)) = self.rings() else {
            return Division::undivided();
        };
        let is_known = |trace| self.is_known(trace);
        Division::new(scanned, (rings, own), visited, is_known)
    }

    /// Returns whether a trace waits, was decided or was passed straight on here.
    fn is_known(&self, trace: TraceId) -> bool {
        let hash = self.outgoing.hash(trace);
        self.sampler.is_known(trace, hash) || self.outgoing.is_passed(hash)
    }

    /// Adds the parts of a record to their queues. `accepted` is the time at which a sampler
    /// accepted their spans from a Collector.
    pub(in crate::forward) fn push(
        &mut self,
        parts: Vec<Part>,
        record: Appended,
        accepted: Instant,
    ) {
        for part in parts {
            self.spans_forwarded += part.spans;
            let queued = QueuedPart {
                visited: part.visited,
                accepted,
                segment: record.segment,
                request: part.request,
            };
            self.parts.push(part.to, record.record, queued);
        }
    }

    /// The next parts for a peer.
    pub(in crate::forward) fn next_forward(&self, peer: u16, now: Instant) -> Forward {
        let peers = self.peers.as_ref();
        let has_former = self.rings().is_some_and(|(rings, _)| rings.has_former());
        let mut forward = self.parts.next(peer, has_former, now);
        // Until the others have reported once, spans that an earlier process handed over count.
        let unreported = peers.and_then(|peers| peers.unreported_since());
        if let Some(since) = unreported.filter(|_| has_former) {
            let age = now.saturating_duration_since(since);
            forward.pending = forward.pending.max(age);
        }
        forward
    }

    /// The bytes of parts for each other member, and for other samplers that had some.
    pub(in crate::forward) fn forward_pending(&self) -> Vec<(u16, usize)> {
        let members = self.peers.iter().flat_map(Peers::others);
        let ordinals: BTreeSet<u16> = members.chain(self.parts.peers()).collect();
        let pending = ordinals.into_iter();
        pending.map(|peer| (peer, self.parts.bytes(peer))).collect()
    }

    /// Updates the settled generation.
    pub(in crate::forward) fn update_settled(&mut self, now: Instant) {
        if let (Some(peers), Some(tracker)) = (&mut self.peers, &self.outgoing.tracker) {
            peers.update_settled(now, |segment| tracker.is_waiting_before(segment));
        }
    }
}
