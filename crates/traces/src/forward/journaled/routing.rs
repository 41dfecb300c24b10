//! Requests, and their division among samplers.
//!
//! The journal's lock is held from the look-up of a request's traces until its division has taken
//! effect, and while other rings are put in force. So all of these steps have one view of the rings.

use std::time::Instant;

use super::{Appender, accepted_record};
use crate::{
    ScanError,
    forward::{
        division::{Divided, Division, Here, scan_staying},
        journal::{Appended, Journal, JournalError, JournalId, Routed, RoutedPart, millis},
        queues::{ForwardedPart, MAX_SILENCE, PartPlace, QueuedPart},
        ring::{Rings, Visited},
        state::State,
    },
    memory::Reservation,
    receiver::AcceptError,
    scan::{Scanned, SourceLimits, scan_within},
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
    fn collector(now: Instant) -> Self {
        Self {
            from: None,
            visited: Visited::default(),
            accepted: now,
        }
    }

    fn peer(from: JournalId, part: &ForwardedPart, now: Instant) -> Self {
        Self {
            from: Some((from, part.sequence)),
            visited: part.visited,
            accepted: now.checked_sub(part.age).unwrap_or(now),
        }
    }
}

impl Appender<'_> {
    /// Accepts a request from a Collector, which may be divided already.
    pub(in crate::forward) fn accept(
        &mut self,
        request: &[u8],
        scanned: &Scanned<'_>,
        divided: Option<Divided<'_>>,
    ) -> Result<(), AcceptError> {
        let journal = self.journal.as_ref();
        let is_nearly_full = journal.is_some_and(|journal| journal.is_nearly_full());
        {
            let state = self.state.lock();
            if state.is_full() {
                return Err(AcceptError::OutputFull);
            }
            state.check_peers(scanned, is_nearly_full)?;
        }
        let origin = Origin::collector(Instant::now());
        self.route(request, scanned, origin, divided)
    }

    /// Accepts a part from a peer, unless it was received before. A part that cannot be read, for
    /// which `scanned` is `None`, is counted and not refused: the peer would repeat it for ever.
    pub(in crate::forward) fn accept_part(
        &mut self,
        (from, part): (JournalId, &ForwardedPart),
        scanned: Option<&Scanned<'_>>,
        divided: Option<Divided<'_>>,
    ) -> Result<(), AcceptError> {
        {
            let state = self.state.lock();
            if part.sequence <= state.received(from) {
                return Ok(());
            }
            if state.is_full() {
                return Err(AcceptError::OutputFull);
            }
        }
        let origin = Origin::peer(from, part, Instant::now());
        match scanned {
            Some(scanned) => self.route(&part.request, scanned, origin, divided),
            None => {
                let nothing = Routed {
                    from: origin.from,
                    ..Routed::default()
                };
                self.append(|journal| journal.append_routed(&nothing, false))?;
                self.state.lock().parts_rejected += 1;
                Ok(())
            }
        }
    }

    /// Puts newer rings in force; returns whether they are newer.
    pub(in crate::forward) fn set_rings(&mut self, rings: Rings) -> bool {
        let is_newer = {
            let mut state = self.state.lock();
            if state.is_journal_closed {
                return false;
            }
            let peers = state.peers.as_mut();
            peers.is_some_and(|peers| peers.adopt(rings))
        };
        let (true, Some(journal)) = (is_newer, &mut *self.journal) else {
            return is_newer;
        };
        // Their segments distinguish the traces that began before from later ones.
        let segment = journal.begin_segment().unwrap_or_else(|error| {
            journal.warn(&error);
            // Traces of the present segment count as earlier ones, too.
            journal.active_segment() + 1
        });
        if let Some(peers) = &mut self.state.lock().peers {
            peers.begin_settling(segment);
        }
        true
    }

    /// Divides a request, writes the division and puts it into effect.
    fn route(
        &mut self,
        request: &[u8],
        scanned: &Scanned<'_>,
        origin: Origin,
        divided: Option<Divided<'_>>,
    ) -> Result<(), AcceptError> {
        let (Divided { division, staying }, is_gathering) = {
            let state = self.state.lock();
            let divided = state.divide(scanned, origin.visited, divided);
            // Recorded with the request, although rules may be put in force between the two.
            (divided, state.sampler.is_gathering())
        };
        let Division { here, parts, .. } = division;
        let mut staying = match (&here, staying) {
            (Here::Request(_), Some(staying)) => Some(staying),
            (Here::Request(here), None) => Some(scan_staying(here)?),
            (Here::All | Here::Nothing, _) => None,
        };
        if let Some(staying) = &mut staying {
            staying.rejected = scanned.rejected;
        }
        let is_empty = scanned.spans.is_empty();
        let is_undivided = here == Here::All && origin.from.is_none();
        let appended = if is_undivided && is_empty {
            None
        } else if is_undivided {
            self.append(|journal| journal.append_request(request, is_gathering))?
        } else {
            let routed = parts.iter().map(|part| RoutedPart {
                to: part.to,
                visited: part.visited,
                request: &part.request,
            });
            let routed = Routed {
                from: origin.from,
                age: millis(origin.accepted.elapsed()),
                here: match &here {
                    Here::Request(here) => Some(&here[..]),
                    Here::All if !is_empty => Some(request),
                    Here::All | Here::Nothing => None,
                },
                parts: routed.collect(),
            };
            self.append(|journal| journal.append_routed(&routed, is_gathering))?
        };
        let passed = {
            let mut state = self.state.lock();
            if let Some(appended) = appended {
                state.push(parts, appended, origin.accepted);
            }
            match (&here, &staying) {
                (_, Some(staying)) => state.accept(staying, is_gathering),
                (Here::All, None) if !is_empty => state.accept(scanned, is_gathering),
                (_, None) => {
                    state.sampler.record_rejected(scanned.rejected);
                    Vec::new()
                }
            }
        };
        if let Some(journal) = &mut *self.journal {
            journal.remember_passed(passed);
        }
        Ok(())
    }

    /// Prepares the journal for the record of a request, which the decisions made so far precede.
    fn prepare(&mut self) -> Result<(), AcceptError> {
        if self.state.lock().is_journal_closed {
            return Err(AcceptError::NotServing);
        }
        match self.append_decisions() {
            true => Ok(()),
            false => Err(AcceptError::Journal),
        }
    }

    /// Appends the record of a request; returns it if there is a journal.
    fn append(
        &mut self,
        append: impl FnOnce(&mut Journal) -> Result<Appended, JournalError>,
    ) -> Result<Option<Appended>, AcceptError> {
        self.prepare()?;
        let Some(journal) = &mut *self.journal else {
            return Ok(None);
        };
        let appended = append(journal);
        let appended = accepted_record(journal, appended)?;
        self.state.lock().begin(appended);
        Ok(Some(appended))
    }

    /// Appends the sequences up to which peers have received all parts. Without these records, the
    /// parts would be sent again after a restart, and ignored.
    pub(super) fn record_forwarded(&mut self) {
        let Some(journal) = &mut *self.journal else {
            return;
        };
        let unrecorded = self.state.lock().parts.unrecorded();
        for (peer, sequence) in unrecorded {
            if let Err(error) = journal.append_forwarded(peer, sequence) {
                journal.warn(&error);
                return;
            }
            self.state.lock().parts.recorded(peer, sequence);
        }
    }

    /// Divides again the parts that wait for samplers that were removed: the persistent volume of a
    /// deleted stack may have some. Without peers, all of them stay here.
    pub(in crate::forward) fn divide_abandoned(&mut self, now: Instant) {
        for _ in 0..MAX_DIVIDED_AGAIN {
            let Some((place, part)) = first_abandoned(&self.state.lock(), now) else {
                return;
            };
            let origin = Origin {
                accepted: part.accepted,
                ..Origin::collector(now)
            };
            let mut reservation = Reservation::unbounded();
            let scanned = scan_within(&part.request, SourceLimits::FORWARDER, &mut reservation);
            let divided = match scanned {
                Ok(scanned) => self.route(&part.request, &scanned, origin, None),
                Err(error) => Err(AcceptError::Scan(error)),
            };
            let mut state = self.state.lock();
            match divided {
                // A later version has accepted it, and would repeat it for ever, too.
                Err(AcceptError::Scan(ScanError::Invalid(_))) => state.parts_rejected += 1,
                Err(_) => return,
                Ok(()) => {}
            }
            state.parts.divided_again(place);
        }
    }
}

/// The first part that waits for a sampler that was removed.
fn first_abandoned(state: &State, now: Instant) -> Option<(PartPlace, QueuedPart)> {
    if state.is_learning() {
        return None;
    }
    let Some(peers) = &state.peers else {
        // Nothing is sent to them, so there is no response to wait for.
        return state.parts.first_abandoned(|_| false, now + MAX_SILENCE);
    };
    let is_peer = |ordinal| peers.has_member(ordinal) && ordinal != peers.own;
    state.parts.first_abandoned(is_peer, now)
}
