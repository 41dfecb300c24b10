//! The state of a forwarder, under its lock.
//!
//! With a journal, each method leaves the order of the journal's records equal to the order of
//! their effects: a request is appended before its spans are routed, and the decisions made since
//! are appended before the next record.

use std::{path::PathBuf, time::Instant};

use super::{
    Backlog, ForwarderSettings,
    batches::Batch,
    in_flight::InFlight,
    journal::{Journal, JournalError},
    outgoing::Outgoing,
    position::Position,
    recovery::{self, Recovery},
    tracker::Tracker,
};
use crate::{
    log::IdHasher,
    receiver::AcceptError,
    scan::Scanned,
    tail::{TailSampler, max_decisions},
};

pub(super) struct State {
    pub(super) sampler: TailSampler,
    pub(super) outgoing: Outgoing,
    journal: Option<Journal>,
    in_flight: InFlight,
    max_outgoing_bytes: usize,
    /// No more batches come after those that are complete.
    pub(super) is_drained: bool,
}

impl State {
    /// Creates the state, from the journal if there is one.
    pub(super) fn new(settings: &ForwarderSettings) -> Result<(Self, Recovery), JournalError> {
        let hasher = IdHasher::default();
        let mut outgoing = Outgoing::new(
            hasher.clone(),
            max_decisions(&settings.tail),
            settings.tail.max_trace_duration,
        );
        let mut sampler = TailSampler::new(settings.tail.clone(), hasher);
        if let Some((version, table)) = &settings.rules {
            sampler.set_counted_table(*version, table.clone());
        }
        let (journal, recovery) = match &settings.journal {
            None => (None, Recovery::default()),
            Some(journal) => {
                let opened = recovery::open(journal, &mut sampler, &mut outgoing)?;
                (Some(opened.0), opened.1)
            }
        };
        let state = Self {
            sampler,
            outgoing,
            journal,
            in_flight: InFlight::default(),
            max_outgoing_bytes: settings.max_outgoing_bytes,
            is_drained: false,
        };
        Ok((state, recovery))
    }

    /// The spans to send.
    pub(super) fn backlog(&self) -> Backlog {
        let batches = &self.outgoing.batches;
        Backlog {
            batches: batches.count(),
            bytes: batches.bytes() + self.in_flight.bytes(),
        }
    }

    /// Returns whether a shutdown that decides on all traces has not ended: traces wait, or spans
    /// are not sent.
    pub(super) fn is_draining(&self) -> bool {
        let is_empty = self.sampler.totals().traces_gathering == 0 && self.backlog().bytes == 0;
        !(self.is_drained || is_empty)
    }

    fn is_full(&self) -> bool {
        self.backlog().bytes > self.max_outgoing_bytes
    }

    /// Accepts a request.
    pub(super) fn accept(
        &mut self,
        request: &[u8],
        scanned: &Scanned<'_>,
    ) -> Result<(), AcceptError> {
        if self.is_full() {
            return Err(AcceptError::OutputFull);
        }
        if !scanned.spans.is_empty() {
            self.append_request(request)?;
        }
        let now = Instant::now();
        self.sampler.accept(scanned, now, &mut self.outgoing);
        if let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) {
            journal.remember_passed(tracker.take_passed());
        }
        self.append_decisions();
        Ok(())
    }

    /// Decides early, to make room for a request of this length; returns true if there is still
    /// none and there may be traces left to decide on.
    pub(super) fn decide_early(&mut self, request_bytes: usize) -> bool {
        // Without room in the journal or for kept spans, traces wait, and no request is accepted.
        if self.is_full() || !self.append_decisions() {
            return false;
        }
        let is_over = self.sampler.decide_early(request_bytes, &mut self.outgoing);
        self.append_decisions() && is_over
    }

    /// Makes decisions, unless there is no room for them or for kept spans; returns whether there
    /// are more to make.
    pub(super) fn decide(
        &mut self,
        decide_some: impl FnOnce(&mut TailSampler, &mut Outgoing) -> bool,
    ) -> bool {
        if self.is_full() || !self.append_decisions() {
            return false;
        }
        let has_more = decide_some(&mut self.sampler, &mut self.outgoing);
        self.append_decisions() && has_more
    }

    fn append_request(&mut self, request: &[u8]) -> Result<(), AcceptError> {
        if !self.append_decisions() {
            return Err(AcceptError::Journal);
        }
        let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) else {
            return Ok(());
        };
        match journal.append_request(request, self.sampler.is_gathering()) {
            Ok(appended) => {
                tracker.begin(appended.record, appended.segment);
                Ok(())
            }
            Err(JournalError::TooLarge { .. }) => Err(AcceptError::TooLargeForJournal),
            Err(error) => {
                journal.warn(&error);
                Err(AcceptError::Journal)
            }
        }
    }

    /// Appends the decisions made since the last record. If that fails, it is attempted again
    /// before the next record; until then, no decision may be made, and no batch with spans of
    /// these decisions is handed out. A process that is started again could decide otherwise.
    fn append_decisions(&mut self) -> bool {
        let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) else {
            return true;
        };
        if tracker.decided().is_empty() {
            return true;
        }
        match journal.append_decisions(tracker.decided(), &self.outgoing.reasons) {
            Ok(appended) => {
                tracker.decisions_written(appended.record, appended.segment);
                true
            }
            Err(error) => {
                journal.warn(&error);
                false
            }
        }
    }

    /// The next batch to send.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let tracker = self.outgoing.tracker.as_ref();
        let last_record = tracker.map_or(u64::MAX, Tracker::last_written_record);
        let batch = self.outgoing.batches.next(last_record)?;
        self.in_flight.add(&batch);
        Some(batch)
    }

    /// Frees the room of a batch that was sent, and confirms it in the journal.
    pub(super) fn sent(&mut self, batch: &Batch) {
        if self.journal.is_none() {
            self.in_flight.sent(batch);
            return;
        }
        self.in_flight.sent_in_order(batch);
        self.confirm();
    }

    /// Appends the place before which all spans are sent, and returns it. If the journal has no
    /// room for it, spans may be sent again after a restart.
    fn confirm(&mut self) -> Position {
        let (Some(journal), Some(tracker)) = (&mut self.journal, &self.outgoing.tracker) else {
            return Position::default();
        };
        let first_unsent = self.in_flight.first_span();
        let first_unsent = first_unsent.or_else(|| self.outgoing.batches.first_span());
        let end = tracker.end();
        let confirmed = first_unsent.map_or(end, |first| first.min(end));
        if let Err(error) = journal.confirm(confirmed) {
            journal.warn(&error);
        }
        confirmed
    }

    /// Forgets the traces that were passed straight on, once new traces are no longer compared with
    /// them. Forgetting them earlier could split a trace, and a replay would have to do the same.
    pub(super) fn forget_passed(&mut self, now: Instant) {
        if !self.sampler.may_be_in_output(now) {
            self.outgoing.forget_passed();
        }
    }

    /// Writes what waits to be written to the journal, and removes segments and traces that are no
    /// longer needed. Returns the paths of the files to delete, which takes too long under the lock.
    pub(super) fn clean_up(&mut self) -> Vec<PathBuf> {
        self.forget_passed(Instant::now());
        self.append_decisions();
        let confirmed = self.confirm();
        let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) else {
            return Vec::new();
        };
        let (paths, result) = journal.clean_up(|segment| tracker.is_released(segment, confirmed));
        if let Err(error) = result {
            journal.warn(&error);
        }
        tracker.forget_segments_before(journal.first_segment());
        paths
    }
}
