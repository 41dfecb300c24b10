//! The parts that wait for other samplers.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::ring::{Visited, bit};

/// Spans that a sampler hands over to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedPart {
    /// The sequence in the sender's journal.
    pub sequence: u64,
    /// The samplers that the spans have visited.
    pub visited: Visited,
    /// The time since a sampler accepted the spans from a Collector.
    pub age: Duration,
    /// An encoded `ExportTraceServiceRequest`.
    pub request: Bytes,
}

/// Parts for a peer, in ascending order of their sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Together at most 4 MiB, or a single one.
    pub parts: Vec<ForwardedPart>,
    /// The age of the oldest other spans that may reach the peer; zero if there are none.
    pub pending: Duration,
}

/// A part that waits.
#[derive(Clone, Debug)]
pub(super) struct QueuedPart {
    pub(super) visited: Visited,
    /// The time at which a sampler accepted the spans from a Collector.
    pub(super) accepted: Instant,
    /// The segment of the journal that has it.
    pub(super) segment: u64,
    pub(super) request: Bytes,
}

/// A peer, and the sequence of a part for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartPlace {
    pub(super) peer: u16,
    pub(super) sequence: u64,
}

/// The parts for one peer.
struct PartQueue {
    /// By sequence: the number of the record that divided the request.
    parts: BTreeMap<u64, QueuedPart>,
    bytes: usize,
    /// The last sequence that the peer has received.
    received: u64,
    /// The last of these sequences that is recorded in the journal.
    recorded: u64,
    /// The time of the peer's last response, or of the start.
    last_response: Instant,
}

/// The parts for all peers.
#[derive(Default)]
pub(super) struct PartQueues {
    by_peer: BTreeMap<u16, PartQueue>,
    /// For the parts that peers have received lately, the time of the peer's response, and the time
    /// at which the oldest of them was accepted.
    handed_over: VecDeque<(Instant, Instant)>,
}

/// The most bytes of parts in one call. The receiver writes them one after another, and has to
/// complete within the deadline of the call, 5 s.
const MAX_FORWARD_BYTES: usize = 4 << 20;
/// The time for which a part still counts after a peer has received it: the peer, which may send it
/// on, reports it within this time. It calls every 100 ms.
const HAND_OVER_TIME: Duration = Duration::from_millis(250);
/// The time without a response after which the parts for a sampler that is in no ring are divided
/// again: it was removed.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(60);

impl PartQueue {
    fn new(now: Instant) -> Self {
        Self {
            parts: BTreeMap::new(),
            bytes: 0,
            received: 0,
            recorded: 0,
            last_response: now,
        }
    }

    /// Removes the parts up to a sequence; returns the time at which the oldest was accepted.
    fn remove(&mut self, sequence: u64) -> Option<Instant> {
        let mut oldest: Option<Instant> = None;
        while let Some(first) = self.parts.first_entry()
            && *first.key() <= sequence
        {
            let (sequence, part) = first.remove_entry();
            self.bytes -= part.request.len();
            // Never a sequence that is not used yet, whatever the peer reports.
            self.received = sequence;
            oldest = Some(oldest.map_or(part.accepted, |oldest| oldest.min(part.accepted)));
        }
        oldest
    }
}

impl PartQueues {
    /// Adds a part, or replaces it with the same part in another segment.
    pub(super) fn push(&mut self, peer: u16, sequence: u64, part: QueuedPart) {
        let queue = self.queue(peer);
        queue.bytes += part.request.len();
        if let Some(same) = queue.parts.insert(sequence, part) {
            queue.bytes -= same.request.len();
        }
    }

    fn queue(&mut self, peer: u16) -> &mut PartQueue {
        let queue = self.by_peer.entry(peer);
        queue.or_insert_with(|| PartQueue::new(Instant::now()))
    }

    /// Removes the parts that a peer has received according to the journal.
    pub(super) fn replay_forwarded(&mut self, peer: u16, sequence: u64) {
        let queue = self.queue(peer);
        queue.remove(sequence);
        queue.recorded = queue.received;
    }

    /// Records a peer's response: it has received all parts up to this sequence.
    pub(super) fn forwarded(&mut self, peer: u16, sequence: u64, now: Instant) {
        let queue = self.queue(peer);
        queue.last_response = now;
        if let Some(oldest) = queue.remove(sequence) {
            self.handed_over.push_back((now, oldest));
        }
        let is_old = |time: Instant| now.saturating_duration_since(time) > HAND_OVER_TIME;
        while self.handed_over.front().is_some_and(|(at, _)| is_old(*at)) {
            self.handed_over.pop_front();
        }
    }

    /// The peers whose last sequence received is not in the journal yet, each with that sequence.
    pub(super) fn unrecorded(&self) -> Vec<(u16, u64)> {
        let queues = self.by_peer.iter();
        let unrecorded = queues.filter(|(_, queue)| queue.recorded < queue.received);
        unrecorded
            .map(|(peer, queue)| (*peer, queue.received))
            .collect()
    }

    /// Marks this sequence, up to which a peer has received all parts, as recorded in the journal.
    pub(super) fn recorded(&mut self, peer: u16, sequence: u64) {
        self.queue(peer).recorded = sequence;
    }

    /// Returns whether a segment of the journal has parts.
    pub(super) fn has_in_segment(&self, segment: u64) -> bool {
        let queues = self.by_peer.values();
        let mut parts = queues.flat_map(|queue| queue.parts.values());
        parts.any(|part| part.segment == segment)
    }

    /// The parts that a segment of the journal has.
    pub(super) fn in_segment(&self, segment: u64) -> Vec<(PartPlace, QueuedPart)> {
        let queues = self.by_peer.iter();
        let parts = queues.flat_map(|(peer, queue)| {
            let (peer, parts) = (*peer, queue.parts.iter());
            parts.map(move |(sequence, part)| {
                let sequence = *sequence;
                (PartPlace { peer, sequence }, part)
            })
        });
        let here = parts.filter(|(_, part)| part.segment == segment);
        here.map(|(place, part)| (place, part.clone())).collect()
    }

    /// Records that a part was moved to another segment of the journal.
    pub(super) fn set_segment(&mut self, place: PartPlace, segment: u64) {
        let queue = self.by_peer.get_mut(&place.peer);
        let part = queue.and_then(|queue| queue.parts.get_mut(&place.sequence));
        if let Some(part) = part {
            part.segment = segment;
        }
    }

    /// The next parts for a peer. With `may_return`, the peer may also get spans that others have,
    /// so they count as pending, too.
    pub(super) fn next(&self, peer: u16, may_return: bool, now: Instant) -> Forward {
        let mut parts: Vec<ForwardedPart> = Vec::new();
        let mut bytes = 0;
        for (sequence, part) in self.parts_after(peer, 0) {
            bytes += part.request.len();
            if bytes > MAX_FORWARD_BYTES && !parts.is_empty() {
                break;
            }
            parts.push(ForwardedPart {
                sequence,
                visited: part.visited,
                age: now.saturating_duration_since(part.accepted),
                request: part.request.clone(),
            });
        }
        let last = parts.last().map_or(0, |part| part.sequence);
        let rest = self.parts_after(peer, last).map(|(_, part)| part.accepted);
        let elsewhere = may_return.then(|| self.elsewhere(peer, now));
        let oldest = rest.chain(elsewhere.into_iter().flatten()).min();
        Forward {
            parts,
            pending: oldest.map_or(Duration::ZERO, |oldest| age(oldest, now)),
        }
    }

    fn parts_after(&self, peer: u16, sequence: u64) -> impl Iterator<Item = (u64, &QueuedPart)> {
        let queue = self.by_peer.get(&peer).into_iter();
        let parts = queue.flat_map(move |queue| queue.parts.range((Excluded(sequence), Unbounded)));
        parts.map(|(sequence, part)| (*sequence, part))
    }

    /// The times at which the spans for other peers were accepted, and those that peers have
    /// received lately.
    fn elsewhere(&self, peer: u16, now: Instant) -> impl Iterator<Item = Instant> {
        let others = self
            .by_peer
            .iter()
            .filter(move |(other, _)| **other != peer);
        let waiting = others.flat_map(|(_, queue)| queue.parts.values().map(|part| part.accepted));
        let is_recent = move |time: Instant| now.saturating_duration_since(time) <= HAND_OVER_TIME;
        let handed_over = self.handed_over.iter();
        let recent = handed_over.filter(move |(at, _)| is_recent(*at));
        waiting.chain(recent.map(|(_, accepted)| *accepted))
    }

    /// Returns whether no parts wait for a peer.
    pub(super) fn is_empty(&self, peer: u16) -> bool {
        let queue = self.by_peer.get(&peer);
        queue.is_none_or(|queue| queue.parts.is_empty())
    }

    /// The bytes that wait for a peer.
    pub(super) fn bytes(&self, peer: u16) -> usize {
        self.by_peer.get(&peer).map_or(0, |queue| queue.bytes)
    }

    /// The number of parts that wait.
    pub(super) fn count(&self) -> usize {
        self.by_peer.values().map(|queue| queue.parts.len()).sum()
    }

    /// The peers for which parts have waited.
    pub(super) fn peers(&self) -> impl Iterator<Item = u16> {
        self.by_peer.keys().copied()
    }

    /// The peers for which more than this many bytes wait, as bits.
    pub(super) fn saturated(&self, max_bytes: usize) -> u64 {
        let full = self.by_peer.iter().filter(|(_, it)| it.bytes > max_bytes);
        full.fold(0, |bits, (peer, _)| bits | bit(*peer))
    }

    /// The first part for a sampler that is in no ring and does not respond.
    pub(super) fn first_abandoned(
        &self,
        is_member: impl Fn(u16) -> bool,
        now: Instant,
    ) -> Option<(PartPlace, QueuedPart)> {
        let silent = self.by_peer.iter().filter(|(peer, queue)| {
            let silence = now.saturating_duration_since(queue.last_response);
            silence >= MAX_SILENCE && !is_member(**peer)
        });
        let mut first = silent.filter_map(|(peer, queue)| {
            let (sequence, part) = queue.parts.first_key_value()?;
            let place = PartPlace {
                peer: *peer,
                sequence: *sequence,
            };
            Some((place, part.clone()))
        });
        first.next()
    }

    /// Removes a part that was divided again.
    pub(super) fn divided_again(&mut self, place: PartPlace) {
        self.queue(place.peer).remove(place.sequence);
    }
}

/// The age of waiting spans; never zero, which would mean that there are none.
fn age(accepted: Instant, now: Instant) -> Duration {
    let age = now.saturating_duration_since(accepted);
    age.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn part(accepted: Instant, bytes: usize) -> QueuedPart {
        QueuedPart {
            visited: Visited::default(),
            accepted,
            segment: 1,
            request: vec![0; bytes].into(),
        }
    }

    fn sequences(forward: &Forward) -> Vec<u64> {
        forward.parts.iter().map(|part| part.sequence).collect()
    }

    #[test]
    fn parts_are_sent_until_they_are_received() {
        let now = Instant::now();
        let mut queues = PartQueues::default();
        for sequence in [3, 5, 9] {
            queues.push(1, sequence, part(now, 10));
        }
        assert_eq!(sequences(&queues.next(1, false, now)), [3, 5, 9]);
        queues.forwarded(1, 5, now);
        assert_eq!(sequences(&queues.next(1, false, now)), [9]);
        assert_eq!((queues.bytes(1), queues.unrecorded()), (10, vec![(1, 5)]));
        queues.recorded(1, 5);
        assert!(queues.unrecorded().is_empty());
        // A sequence that was never used.
        queues.forwarded(1, u64::MAX, now);
        assert_eq!(
            (queues.is_empty(1), queues.unrecorded()),
            (true, vec![(1, 9)])
        );
        queues.push(1, 12, part(now, 10));
        assert_eq!(sequences(&queues.next(1, false, now)), [12]);
    }

    #[test]
    fn calls_are_bounded_and_large_parts_go_alone() {
        let now = Instant::now();
        let mut queues = PartQueues::default();
        for (sequence, bytes) in [(1, 3 << 20), (2, 1 << 20), (3, 9 << 20), (4, 1)] {
            queues.push(0, sequence, part(now, bytes));
        }
        let mut calls = Vec::new();
        while !queues.is_empty(0) {
            let next = sequences(&queues.next(0, false, now));
            queues.forwarded(0, *next.last().unwrap(), now);
            calls.push(next);
        }
        assert_eq!(calls, [vec![1, 2], vec![3], vec![4]]);
    }

    #[test]
    fn pending_spans_are_those_that_may_follow() {
        let now = Instant::now() + Duration::from_secs(100);
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut queues = PartQueues::default();
        let pending = |queues: &PartQueues, may_return| {
            let pending = queues.next(1, may_return, now).pending;
            pending.as_secs()
        };
        assert_eq!(queues.next(1, true, now).pending, Duration::ZERO);
        queues.push(1, 1, part(ago(3), 4 << 20));
        queues.push(2, 2, part(ago(7), 1));
        assert_eq!([false, true].map(|it| pending(&queues, it)), [0, 7]);
        // Older than the one before it, since another sampler accepted it.
        queues.push(1, 3, part(ago(5), 1));
        assert_eq!([false, true].map(|it| pending(&queues, it)), [5, 7]);
        queues.forwarded(2, 2, ago(1));
        assert_eq!(pending(&queues, true), 5);
        queues.push(2, 4, part(ago(8), 1));
        queues.forwarded(2, 4, now);
        assert_eq!(pending(&queues, true), 8);
        queues.push(1, 5, part(now, 4 << 20));
        queues.forwarded(1, 3, now);
        queues.push(1, 6, part(now, 1));
        assert!(queues.next(1, false, now).pending > Duration::ZERO);
    }

    #[test]
    fn moved_part_is_the_same_part() {
        let now = Instant::now();
        let mut queues = PartQueues::default();
        queues.push(1, 7, part(now, 10));
        queues.push(
            1,
            7,
            QueuedPart {
                segment: 2,
                ..part(now, 10)
            },
        );
        assert_eq!((queues.count(), queues.bytes(1)), (1, 10));
        assert!(queues.in_segment(1).is_empty());
        assert_eq!([1, 2].map(|it| queues.has_in_segment(it)), [false, true]);
        let place = queues.in_segment(2)[0].0;
        assert_eq!((place.peer, place.sequence), (1, 7));
        queues.set_segment(place, 3);
        assert_eq!(queues.in_segment(3).len(), 1);
    }

    #[test]
    fn parts_are_abandoned_with_their_sampler() {
        let start = Instant::now();
        let mut queues = PartQueues::default();
        queues.push(3, 7, part(start, 10));
        let first = |queues: &PartQueues, seconds, members| {
            let now = start + Duration::from_secs(seconds);
            let first = queues.first_abandoned(|peer| peer < members, now);
            first.map(|(place, _)| (place.peer, place.sequence))
        };
        assert_eq!(first(&queues, 50, 3), None);
        assert_eq!(first(&queues, 70, 4), None);
        assert_eq!(first(&queues, 70, 3), Some((3, 7)));
        queues.forwarded(3, 0, start + Duration::from_secs(60));
        assert_eq!(first(&queues, 70, 3), None);
    }

    #[test]
    fn full_queues_are_reported_as_bits() {
        let mut queues = PartQueues::default();
        queues.push(0, 1, part(Instant::now(), 100));
        queues.push(5, 1, part(Instant::now(), 101));
        assert_eq!(queues.saturated(100), 1 << 5);
    }
}
