//! The hand-over of spans among samplers.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::{Forward, ForwardedPart, Forwarder, JournalId, Rings, Shared, division::Divided};
use crate::{
    memory::Reservation,
    receiver::AcceptError,
    scan::{SourceLimits, scan_within},
};

/// The time between a peer's response and the next call without parts. Decisions wait for these
/// calls.
const FORWARD_INTERVAL: Duration = Duration::from_millis(100);

impl Forwarder {
    /// The ID of the journal; `None` without one.
    #[must_use]
    pub fn journal_id(&self) -> Option<JournalId> {
        self.shared.state().journal_id
    }

    /// The rings in force; `None` if they are not known yet, or without
    /// [`ForwarderSettings::peers`](super::ForwarderSettings::peers).
    #[must_use]
    pub fn rings(&self) -> Option<Rings> {
        let state = self.shared.state();
        state.rings().map(|(rings, _)| rings.clone())
    }

    /// Puts newer rings in force, which must have been saved: a sampler that returned to older ones
    /// could begin traces that another one has begun. Returns whether they were newer. May block
    /// while others write to the journal.
    pub fn set_rings(&self, rings: Rings) -> bool {
        let is_newer = self.shared.journaled.appender().set_rings(rings);
        self.shared.has_parts.notify_waiters();
        is_newer
    }

    /// Accepts parts from a peer until one is refused; returns the last sequence received of its
    /// journal. The rings of the peer must be in force already. May block until the parts are
    /// written.
    pub fn accept_forwarded(
        &self,
        from: JournalId,
        parts: &[ForwardedPart],
    ) -> (u64, Result<(), AcceptError>) {
        let mut parts = parts.iter();
        let accepted = match self.receiver.is_closed() {
            true => Err(AcceptError::NotServing),
            false => parts.try_for_each(|part| self.shared.accept_part(from, part)),
        };
        (self.shared.state().received(from), accepted)
    }

    /// The ordinals, as bits, for which this sampler has as many parts as it should hold.
    #[must_use]
    pub fn saturated(&self) -> u64 {
        self.shared.state().saturated()
    }

    /// Records a peer's report that it has nothing left for this sampler that was accepted before
    /// `until`. Traces that are due by then may be decided, once all peers have reported so.
    ///
    /// The time is that of the last response that the peer had received when it reported, less the
    /// age of its oldest spans for this sampler.
    pub fn record_report(&self, peer: u16, until: Instant) {
        let mut state = self.shared.state();
        if let Some(peers) = &mut state.peers {
            peers.record_report(peer, until, Instant::now());
        }
    }

    /// The next parts for a peer: at once if there are any, and otherwise an empty list after 0.1
    /// s, since the peer waits for the report. Parts stay in the queue until the peer has received
    /// them ([`Forwarder::forwarded`]), so after a failure the caller has to delay its next call.
    ///
    /// `None` at the end: during a shutdown if there are no parts, or after
    /// [`Forwarder::give_up`].
    pub async fn next_forward(&self, peer: u16) -> Option<Forward> {
        let report_at = tokio::time::Instant::now() + FORWARD_INTERVAL;
        loop {
            // Created before the check, so that no part is missed between check and wait.
            let has_parts = self.shared.has_parts.notified();
            let is_learning = {
                let state = self.shared.state();
                let has_none = state.parts.is_empty(peer);
                if state.has_given_up || (state.is_leaving && has_none) {
                    return None;
                }
                let is_learning = state.is_learning();
                let is_due = !has_none || tokio::time::Instant::now() >= report_at;
                if is_due && !is_learning {
                    return Some(state.next_forward(peer, Instant::now()));
                }
                is_learning
            };
            // Without rings nothing is sent, since it is unclear which samplers know the traces.
            if is_learning {
                has_parts.await;
            } else {
                let _at_the_latest = timeout_at(report_at, has_parts).await;
            }
        }
    }

    /// Records a peer's response: it has received all parts up to this sequence, and holds too many
    /// for these ordinals, which are given as bits.
    pub fn forwarded(&self, peer: u16, sequence: u64, saturated: u64) {
        let mut state = self.shared.state();
        let now = Instant::now();
        state.parts.forwarded(peer, sequence, now);
        if let Some(peers) = &mut state.peers {
            peers.set_saturated(peer, saturated, now);
        }
    }

    /// The latest generation that is settled: this sampler knows no trace from before its rings.
    /// Zero if there is none yet.
    #[must_use]
    pub fn settled_generation(&self) -> u64 {
        let state = self.shared.state();
        let peers = state.peers.as_ref();
        peers.map_or(0, |peers| peers.settled_generation())
    }

    /// The bytes of spans that wait for each peer: for all other members, and for other samplers
    /// that had some.
    #[must_use]
    pub fn forward_pending(&self) -> Vec<(u16, usize)> {
        self.shared.state().forward_pending()
    }
}

impl Shared {
    fn accept_part(&self, from: JournalId, part: &ForwardedPart) -> Result<(), AcceptError> {
        {
            let state = self.state();
            if state.is_learning() {
                return Err(AcceptError::NotServing);
            }
            if part.sequence <= state.received(from) {
                return Ok(());
            }
        }
        // Scanned within the bound on memory by the sampler that accepted it.
        let mut reservation = Reservation::unbounded();
        let limits = SourceLimits::FORWARDER;
        let scanned = scan_within(&part.request, limits, &mut reservation).ok();
        let division = scanned
            .as_ref()
            .and_then(|scanned| self.divide(scanned, part.visited));
        // Nearly always all spans stay.
        let staying = None;
        let divided = division.map(|division| Divided { division, staying });
        let mut appender = self.make_room(part.request.len())?;
        appender.accept_part((from, part), scanned.as_ref(), divided)?;
        drop(appender);
        self.notify();
        Ok(())
    }
}
