//! Requests, and their division among samplers.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;

use super::State;
use crate::{
    ScanError, TraceId,
    forward::{
        division::{Division, Here},
        journal::{Journal, JournalError, JournalId, Routed, RoutedPart, millis},
        peers::Peers,
        queues::{Forward, ForwardedPart, QueuedPart},
        ring::{Rings, Visited},
    },
    memory::Reservation,
    receiver::AcceptError,
    scan::{Scanned, scan},
};

/// The origin of a request.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// The peer's journal and the sequence there; `None` for a Collector.
    from: Option<(JournalId, u64)>,
    visited: Visited,
    /// The time at which a sampler accepted it from a Collector.
    accepted: Instant,
}

/// The most parts that are divided again at each tick.
const MAX_DIVIDED_AGAIN: usize = 64;

impl Origin {
    /// A Collector.
    fn collector(now: Instant) -> Self {
        Self {
            from: None,
            visited: Visited::default(),
            accepted: now,
        }
    }

    /// A part that a peer has sent.
    fn peer(from: JournalId, part: &ForwardedPart, now: Instant) -> Self {
        Self {
            from: Some((from, part.sequence)),
            visited: part.visited,
            accepted: now.checked_sub(part.age).unwrap_or(now),
        }
    }
}

impl State {
    /// Accepts a request of a Collector, which may be divided already.
    pub(in crate::forward) fn accept(
        &mut self,
        request: &[u8],
        scanned: &Scanned<'_>,
        division: Option<Division>,
    ) -> Result<(), AcceptError> {
        if self.is_full() {
            return Err(AcceptError::OutputFull);
        }
        let now = Instant::now();
        self.check_peers(scanned, now)?;
        self.route(request, scanned, Origin::collector(now), division)
    }

    /// Accepts a part of a peer, unless it was received before. `None` stands for a part that cannot
    /// be read: the peer would repeat it for ever.
    pub(in crate::forward) fn accept_part(
        &mut self,
        (from, part): (JournalId, &ForwardedPart),
        scanned: Option<&Scanned<'_>>,
        division: Option<Division>,
    ) -> Result<(), AcceptError> {
        if self.has_received(from, part.sequence) {
            return Ok(());
        }
        if self.is_full() {
            return Err(AcceptError::OutputFull);
        }
        let origin = Origin::peer(from, part, Instant::now());
        match scanned {
            Some(scanned) => self.route(&part.request, scanned, origin, division),
            None => {
                let nothing = Routed {
                    from: origin.from,
                    ..Routed::default()
                };
                self.append_routed(&nothing)?;
                self.parts_rejected += 1;
                Ok(())
            }
        }
    }

    /// The last sequence received of a peer's journal.
    pub(in crate::forward) fn received(&self, from: JournalId) -> u64 {
        let journal = self.journal.as_ref();
        let received = journal.and_then(|journal| journal.received(from));
        received.unwrap_or_default()
    }

    /// Returns whether a part was received before.
    pub(in crate::forward) fn has_received(&self, from: JournalId, sequence: u64) -> bool {
        sequence <= self.received(from)
    }

    /// The ID of the journal.
    pub(in crate::forward) fn journal_id(&self) -> Option<JournalId> {
        let journal = self.journal.as_ref();
        journal.map(|journal| journal.id())
    }

    /// Returns whether the rings are not known yet.
    pub(in crate::forward) fn is_learning(&self) -> bool {
        let peers = self.peers.as_ref();
        peers.is_some_and(|peers| peers.rings().is_none())
    }

    /// The rings in force and the own ordinal, to divide requests by.
    pub(in crate::forward) fn rings(&self) -> Option<(&Rings, u16)> {
        let peers = self.peers.as_ref()?;
        Some((peers.rings()?, peers.own))
    }

    /// Puts newer rings in force; returns whether they are newer.
    pub(in crate::forward) fn set_rings(&mut self, rings: Rings) -> bool {
        let Some(peers) = &mut self.peers else {
            return false;
        };
        let is_newer = peers.adopt(rings);
        if is_newer {
            self.begin_settling();
        }
        is_newer
    }

    /// Begins a segment, by which the traces that began before the present rings are known.
    fn begin_settling(&mut self) {
        let (Some(journal), Some(peers)) = (&mut self.journal, &mut self.peers) else {
            return;
        };
        let segment = journal.begin_segment().unwrap_or_else(|error| {
            journal.warn(&error);
            // Without another segment, later traces count as earlier ones, too.
            journal.active_segment() + 1
        });
        peers.begin_settling(segment);
    }

    /// Lets traces wait of which peers may have spans.
    pub(super) fn wait_for_peers(&mut self, now: Instant) {
        let peers = self.peers.as_ref();
        let until = peers.and_then(|peers| peers.decision_time(now));
        self.sampler.set_due_until(until);
    }

    /// Checks that the other samplers have room for the spans of a Collector, since this sampler
    /// would have to hold them.
    fn check_peers(&self, scanned: &Scanned<'_>, now: Instant) -> Result<(), AcceptError> {
        let Some(peers) = &self.peers else {
            return Ok(());
        };
        let Some(rings) = peers.rings().filter(|_| peers.is_member()) else {
            return Err(AcceptError::NotServing);
        };
        // The rest of the journal is for the parts of peers: these must not be refused for what
        // Collectors have sent, or two full samplers would refuse each other's parts.
        let journal = self.journal.as_ref();
        if rings.max_members() > 1 && journal.is_some_and(|journal| journal.is_nearly_full()) {
            return Err(AcceptError::Journal);
        }
        let full = self.saturated() | peers.saturated(now);
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

    /// Divides a request, writes the division and takes it into effect.
    fn route(
        &mut self,
        request: &[u8],
        scanned: &Scanned<'_>,
        origin: Origin,
        division: Option<Division>,
    ) -> Result<(), AcceptError> {
        let Division { here, parts, .. } = self.divide(scanned, origin.visited, division);
        // The spans that stay, in a request of their own. It is a part of the one that was scanned
        // within the bound on memory.
        let mut staying = match &here {
            Here::All | Here::Nothing => None,
            Here::Request(here) => Some(scan(here, &mut Reservation::unbounded())?),
        };
        if let Some(staying) = &mut staying {
            staying.rejected = scanned.rejected;
        }
        let is_undivided = here == Here::All && origin.from.is_none();
        if !is_undivided {
            let now = Instant::now();
            let routed = parts.iter().map(|part| RoutedPart {
                to: part.to,
                visited: part.visited,
                request: &part.request,
            });
            let here: Option<&[u8]> = match &here {
                Here::Request(here) => Some(here),
                Here::All if !scanned.spans.is_empty() => Some(request),
                Here::All | Here::Nothing => None,
            };
            self.append_routed(&Routed {
                from: origin.from,
                age: millis(now.saturating_duration_since(origin.accepted)),
                here,
                parts: routed.collect(),
            })?;
        } else if !scanned.spans.is_empty() {
            self.append_request(request)?;
        }
        match (&here, &staying) {
            (_, Some(staying)) => self.accept_here(staying),
            (Here::All, None) if !scanned.spans.is_empty() => self.accept_here(scanned),
            (_, None) => self.sampler.record_rejected(scanned.rejected),
        }
        for part in parts {
            self.spans_forwarded += part.spans;
            self.push(part.to, part.visited, part.request, origin.accepted);
        }
        self.append_decisions();
        Ok(())
    }

    /// The division of a request: this one, unless the rings have changed since.
    fn divide(
        &self,
        scanned: &Scanned<'_>,
        visited: Visited,
        division: Option<Division>,
    ) -> Division {
        let Some((rings, own)) = self.rings() else {
            return Division::undivided();
        };
        let is_current = |division: &Division| division.generation == rings.generation();
        division.filter(is_current).unwrap_or_else(|| {
            let is_known = |trace| self.is_known(trace);
            Division::new(scanned, (rings, own), visited, is_known)
        })
    }

    /// Returns whether a trace waits, was decided or was passed straight on here.
    fn is_known(&self, trace: TraceId) -> bool {
        let hash = self.outgoing.hash(trace);
        self.sampler.is_known(trace, hash) || self.outgoing.is_passed(hash)
    }

    /// Accepts spans that stay, and are in the journal.
    fn accept_here(&mut self, scanned: &Scanned<'_>) {
        let now = Instant::now();
        self.wait_for_peers(now);
        self.sampler.accept(scanned, now, &mut self.outgoing);
        if let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) {
            journal.remember_passed(tracker.take_passed());
        }
    }

    /// Adds a part of the last record to its queue.
    fn push(&mut self, to: u16, visited: Visited, request: Bytes, accepted: Instant) {
        let Some(journal) = &self.journal else {
            return;
        };
        let queued = QueuedPart {
            visited,
            accepted,
            segment: journal.active_segment(),
            request,
        };
        self.parts.push(to, journal.last_record(), queued);
    }

    fn append_request(&mut self, request: &[u8]) -> Result<(), AcceptError> {
        if !self.append_decisions() {
            return Err(AcceptError::Journal);
        }
        let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) else {
            return Ok(());
        };
        let appended = journal.append_request(request, self.sampler.is_gathering());
        let appended = appended.map_err(|error| refusal(journal, &error))?;
        tracker.begin(appended.record, appended.segment);
        Ok(())
    }

    fn append_routed(&mut self, routed: &Routed<'_>) -> Result<(), AcceptError> {
        if !self.append_decisions() {
            return Err(AcceptError::Journal);
        }
        let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) else {
            return Ok(());
        };
        let appended = journal.append_routed(routed, self.sampler.is_gathering());
        let appended = appended.map_err(|error| refusal(journal, &error))?;
        tracker.begin(appended.record, appended.segment);
        Ok(())
    }

    /// The next parts for a peer.
    pub(in crate::forward) fn next_forward(&self, peer: u16, now: Instant) -> Forward {
        let peers = self.peers.as_ref();
        let has_former = self.rings().is_some_and(|(rings, _)| rings.has_former());
        let mut forward = self.parts.next(peer, has_former, now);
        // Until the others have reported once, spans that an earlier process handed over count.
        let unheard = peers.and_then(|peers| peers.unheard_since());
        if let Some(since) = unheard.filter(|_| has_former) {
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

    /// Appends the sequences up to which peers have received all parts. Without that, they are sent
    /// again after a restart, and ignored.
    pub(super) fn record_forwarded(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        for (peer, sequence) in self.parts.unrecorded() {
            match journal.append_forwarded(peer, sequence) {
                Ok(()) => self.parts.recorded(peer, sequence),
                Err(error) => return journal.warn(&error),
            }
        }
    }

    /// Divides the parts again that wait for samplers that were removed: the claim of a deleted
    /// stack may have some. Without rings they stay here.
    pub(in crate::forward) fn divide_abandoned(&mut self, now: Instant) {
        if self.is_learning() {
            return;
        }
        for _ in 0..MAX_DIVIDED_AGAIN {
            let peers = self.peers.as_ref();
            let is_peer = |ordinal| {
                peers.is_some_and(|peers| peers.has_member(ordinal) && ordinal != peers.own)
            };
            let Some((peer, sequence, part)) = self.parts.first_abandoned(is_peer, now) else {
                return;
            };
            let (request, accepted) = (part.request.clone(), part.accepted);
            let origin = Origin {
                accepted,
                ..Origin::collector(now)
            };
            let divided = match scan(&request, &mut Reservation::unbounded()) {
                Ok(scanned) => self.route(&request, &scanned, origin, None),
                Err(error) => Err(AcceptError::Scan(error)),
            };
            match divided {
                // A later version has accepted it, and would repeat it for ever, too.
                Err(AcceptError::Scan(ScanError::Invalid(_))) => self.parts_rejected += 1,
                Err(_) => return,
                Ok(()) => {}
            }
            self.parts.divided_again(peer, sequence);
        }
    }
}

fn refusal(journal: &mut Journal, error: &JournalError) -> AcceptError {
    if let JournalError::TooLarge { .. } = error {
        return AcceptError::TooLargeForJournal;
    }
    journal.warn(error);
    AcceptError::Journal
}
