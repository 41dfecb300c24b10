//! Replays a journal into a sampler and its output.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    journal::{
        Journal, JournalError, JournalSettings, Moved, Outcome, Replay, Replayed, Routed,
        RoutedPart, unix_ms,
    },
    outgoing::Outgoing,
    position::Position,
    queues::{PartQueues, QueuedPart},
    tracker::Tracker,
};
use crate::{
    TraceId,
    memory::Reservation,
    scan::{SourceLimits, scan_within},
    tail::TailSampler,
};

/// Counts of the state with which a forwarder continues after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Requests read from the journal.
    pub requests: u64,
    /// Decisions read from the journal, which late spans follow.
    pub decisions: u64,
    /// Traces that wait again.
    pub traces_waiting: u64,
    /// Parts of requests that wait again for other samplers.
    pub parts_waiting: u64,
    /// Spans that were kept and not confirmed as sent. They are sent again; those that were in
    /// flight may arrive twice.
    pub resent: u64,
    /// Files of the journal of which the rest could not be read.
    pub corrupt_files: u64,
    /// Intact records of the journal that were skipped, since this version does not understand
    /// them.
    pub skipped_records: u64,
}

/// A journal that was replayed.
pub(super) struct Opened {
    pub(super) journal: Journal,
    pub(super) recovery: Recovery,
    /// The time of the last record with an effect.
    pub(super) last_record: Option<Instant>,
}

/// Opens a journal and replays it into a sampler, its output and the queues, which are empty.
pub(super) fn open(
    settings: &JournalSettings,
    sampler: &mut TailSampler,
    outgoing: &mut Outgoing,
    parts: &mut PartQueues,
) -> Result<Opened, JournalError> {
    let mut recovering = Recovering::new(sampler, outgoing, parts);
    let (journal, replayed) = Journal::open(settings, &mut recovering)?;
    let last_record = recovering.last_record;
    let recovery = recovering.finish(journal.last_record(), replayed);
    Ok(Opened {
        journal,
        recovery,
        last_record,
    })
}

/// A sampler, its output and the queues, while the journal is replayed into them.
struct Recovering<'a> {
    sampler: &'a mut TailSampler,
    outgoing: &'a mut Outgoing,
    parts: &'a mut PartQueues,
    /// The present time by both clocks.
    now: Instant,
    now_unix_ms: u64,
    /// The record, its segment and its time.
    record: u64,
    segment: u64,
    record_time: Instant,
    last_record: Option<Instant>,
}

impl<'a> Recovering<'a> {
    fn new(
        sampler: &'a mut TailSampler,
        outgoing: &'a mut Outgoing,
        parts: &'a mut PartQueues,
    ) -> Self {
        let now = Instant::now();
        Self {
            sampler,
            outgoing,
            parts,
            now,
            now_unix_ms: unix_ms(),
            record: 0,
            segment: 0,
            record_time: now,
            last_record: None,
        }
    }

    /// Ends the replay, after this record.
    fn finish(self, last_record: u64, replayed: Replayed) -> Recovery {
        self.outgoing.replay_time = None;
        let mut resent = 0;
        if let Some(tracker) = &mut self.outgoing.tracker {
            tracker.end_replay(last_record);
            resent = tracker.resent();
        }
        self.sampler.end_replay(resent);
        Recovery {
            requests: replayed.requests,
            decisions: replayed.decisions,
            traces_waiting: self.sampler.totals().traces_gathering,
            parts_waiting: self.parts.count() as u64,
            resent,
            corrupt_files: replayed.corrupt_files,
            skipped_records: replayed.skipped_records,
        }
    }

    fn push(&mut self, part: &RoutedPart<'_>, sequence: u64, accepted: Instant, segment: u64) {
        let queued = QueuedPart {
            visited: part.visited,
            accepted,
            segment,
            request: Bytes::copy_from_slice(part.request),
        };
        self.parts.push(part.to, sequence, queued);
    }

    /// Converts the time of a record. A time in the future counts as the present: the clock may
    /// have been set back.
    fn instant(&self, unix_ms: u64) -> Instant {
        let age = Duration::from_millis(self.now_unix_ms.saturating_sub(unix_ms));
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

impl Replay for Recovering<'_> {
    fn confirmed(&mut self, confirmed: Position) {
        let tracker = &mut self.outgoing.tracker;
        tracker.get_or_insert_with(Tracker::replaying).confirmed = confirmed;
    }

    fn begin(&mut self, record: u64, segment: u64, time: u64) {
        self.record = record;
        self.segment = segment;
        self.record_time = self.instant(time);
        self.outgoing.replay_time = Some(self.record_time);
        if record > 0 {
            self.last_record = self.last_record.max(Some(self.record_time));
        }
        if let Some(tracker) = &mut self.outgoing.tracker {
            match record {
                0 => tracker.begin_deleted(),
                record => tracker.begin(record, segment),
            }
        }
    }

    fn request(&mut self, request: &[u8], is_gathered: bool) -> Option<Vec<TraceId>> {
        // The request was scanned within the bound on memory when it was accepted.
        let mut reservation = Reservation::unbounded();
        let scanned = scan_within(request, SourceLimits::FORWARDER, &mut reservation).ok()?;
        self.sampler
            .replay(&scanned, is_gathered, self.record_time, self.outgoing);
        let tracker = self.outgoing.tracker.as_mut();
        Some(tracker.map(Tracker::take_passed).unwrap_or_default())
    }

    fn parts(&mut self, routed: &Routed<'_>) {
        let age = Duration::from_millis(routed.age);
        let accepted = self.record_time.checked_sub(age);
        let accepted = accepted.unwrap_or(self.record_time);
        for part in &routed.parts {
            self.push(part, self.record, accepted, self.segment);
        }
    }

    fn moved(&mut self, moved: &Moved<'_>, segment: u64) {
        let accepted = self.instant(moved.accepted);
        self.push(&moved.part, moved.sequence, accepted, segment);
    }

    fn forwarded(&mut self, peer: u16, sequence: u64) {
        self.parts.replay_forwarded(peer, sequence);
    }

    fn decision(&mut self, id: TraceId, outcome: Outcome) {
        let kept = match outcome {
            Outcome::Passed => {
                self.sampler.replay_passed(self.record_time);
                self.outgoing.replay_passed(id, self.record_time);
                return;
            }
            Outcome::Dropped => None,
            Outcome::Kept(reason) => Some(reason),
        };
        self.sampler
            .replay_decision(id, kept, self.record_time, self.outgoing);
    }
}
