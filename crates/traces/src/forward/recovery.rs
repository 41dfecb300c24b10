//! Replays a journal into a sampler and its output.

use std::time::{Duration, Instant};

use super::{
    journal::{Journal, JournalError, JournalSettings, Outcome, Replay, Replayed, unix_ms},
    outgoing::Outgoing,
    position::Position,
    tracker::Tracker,
};
use crate::{
    TraceId,
    memory::Reservation,
    scan::{SourceLimits, scan_within},
    tail::TailSampler,
};

/// What a forwarder continues with after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Requests read from the journal.
    pub requests: u64,
    /// Decisions read from the journal, which late spans follow.
    pub decisions: u64,
    /// Traces that wait again.
    pub traces_waiting: u64,
    /// Spans that were kept and not confirmed as sent. They are sent again, of which those that
    /// were in flight may arrive twice.
    pub resent: u64,
    /// Files of the journal of which the rest could not be read.
    pub corrupt_files: u64,
    /// Intact records of the journal that were skipped, since this version does not understand
    /// them.
    pub skipped_records: u64,
}

/// Opens a journal and replays it into a sampler and its output, which are empty.
pub(super) fn open(
    settings: &JournalSettings,
    sampler: &mut TailSampler,
    outgoing: &mut Outgoing,
) -> Result<(Journal, Recovery), JournalError> {
    let mut recovering = Recovering::new(sampler, outgoing);
    let (journal, replayed) = Journal::open(settings, &mut recovering)?;
    let recovery = recovering.finish(journal.last_record(), replayed);
    Ok((journal, recovery))
}

/// A sampler and its output, while the journal is replayed into them.
struct Recovering<'a> {
    sampler: &'a mut TailSampler,
    outgoing: &'a mut Outgoing,
    /// The present time by both clocks.
    now: Instant,
    now_unix_ms: u64,
    /// The time of the record.
    record_time: Instant,
}

impl<'a> Recovering<'a> {
    fn new(sampler: &'a mut TailSampler, outgoing: &'a mut Outgoing) -> Self {
        let now = Instant::now();
        Self {
            sampler,
            outgoing,
            now,
            now_unix_ms: unix_ms(),
            record_time: now,
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
            resent,
            corrupt_files: replayed.corrupt_files,
            skipped_records: replayed.skipped_records,
        }
    }

    /// A time of a record. One in the future, by a clock that was set, is the present.
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
        self.record_time = self.instant(time);
        self.outgoing.replay_time = Some(self.record_time);
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
