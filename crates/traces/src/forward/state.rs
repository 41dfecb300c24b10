//! The state of a forwarder, under its lock.
//!
//! With a journal, each method leaves the order of the journal's records equal to the order of
//! their effects: a request is appended before its spans are routed, and the decisions made since
//! are appended before the next record.
//!
//! Among several samplers, looking up the traces of a request, writing its division and taking it
//! into effect are one step, with one view of the rings ([`routing`]).

mod routing;

use std::{path::PathBuf, time::Instant};

use super::{
    Backlog, ForwarderSettings,
    batches::Batch,
    in_flight::InFlight,
    journal::{Journal, JournalError},
    outgoing::Outgoing,
    peers::Peers,
    position::Position,
    queues::PartQueues,
    recovery::{self, Opened, Recovery},
    tracker::Tracker,
};
use crate::{
    log::IdHasher,
    tail::{TailSampler, max_decisions},
};

pub(super) struct State {
    pub(super) sampler: TailSampler,
    pub(super) outgoing: Outgoing,
    journal: Option<Journal>,
    in_flight: InFlight,
    max_outgoing_bytes: usize,
    /// The other samplers, if there may be some.
    pub(super) peers: Option<Peers>,
    /// The parts for them.
    pub(super) parts: PartQueues,
    /// The spans in the parts for other samplers since the start.
    pub(super) spans_forwarded: u64,
    /// Parts of peers that could not be read.
    pub(super) parts_rejected: u64,
    /// No more requests are accepted.
    pub(super) is_leaving: bool,
    /// The shutdown ends although spans are left.
    pub(super) has_given_up: bool,
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
        let mut parts = PartQueues::default();
        let opened = match &settings.journal {
            None => None,
            Some(journal) => {
                let opened = recovery::open(journal, &mut sampler, &mut outgoing, &mut parts)?;
                Some((opened, journal.max_bytes))
            }
        };
        let mut state = Self {
            sampler,
            outgoing,
            journal: None,
            in_flight: InFlight::default(),
            max_outgoing_bytes: settings.max_outgoing_bytes,
            peers: None,
            parts,
            spans_forwarded: 0,
            parts_rejected: 0,
            is_leaving: false,
            has_given_up: false,
            is_drained: false,
        };
        let Some((opened, journal_bytes)) = opened else {
            return Ok((state, Recovery::default()));
        };
        let Opened {
            journal,
            recovery,
            last_record,
        } = opened;
        state.peers = settings.peers.as_ref().map(|peers| {
            let max_trace_duration = settings.tail.max_trace_duration;
            let mut peers = Peers::new(peers, max_trace_duration, journal_bytes, last_record);
            peers.begin_settling(journal.active_segment());
            peers
        });
        state.journal = Some(journal);
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
        self.wait_for_peers(Instant::now());
        let has_more = decide_some(&mut self.sampler, &mut self.outgoing);
        self.append_decisions() && has_more
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
        let now = Instant::now();
        self.forget_passed(now);
        self.divide_abandoned(now);
        self.append_decisions();
        self.record_forwarded();
        let confirmed = self.confirm();
        let (Some(journal), Some(tracker)) = (&mut self.journal, &mut self.outgoing.tracker) else {
            return Vec::new();
        };
        let is_released = |segment| tracker.is_released(segment, confirmed);
        let (paths, result) = journal.clean_up(&mut self.parts, is_released);
        if let Err(error) = result {
            journal.warn(&error);
        }
        tracker.forget_segments_before(journal.first_segment());
        if let Some(peers) = &mut self.peers {
            peers.settle(now, |segment| tracker.is_waiting_before(segment));
        }
        paths
    }
}
