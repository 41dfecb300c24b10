//! The state of a forwarder, under its lock.

mod routing;

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{
    Backlog, ForwarderSettings,
    batches::Batch,
    in_flight::InFlight,
    input::Input,
    journal::{Appended, Journal, JournalError, JournalId, Senders},
    outgoing::Outgoing,
    peers::Peers,
    position::Position,
    queues::PartQueues,
    recovery::{self, Recovery},
    tracker::Tracker,
};
use crate::{
    TraceId,
    log::IdHasher,
    scan::Scanned,
    tail::{Decision, TailSampler, max_decisions},
};

pub(super) struct State {
    pub(super) sampler: TailSampler,
    pub(super) outgoing: Outgoing,
    in_flight: InFlight,
    pub(super) input: Input,
    max_outgoing_bytes: usize,
    pub(super) journal_id: Option<JournalId>,
    /// The last sequences received of peers.
    senders: Arc<Mutex<Senders>>,
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
    /// The shutdown ends even if spans are left.
    pub(super) has_given_up: bool,
    /// No more batches come after those that are complete.
    pub(super) is_output_ended: bool,
    /// Nothing is written to the journal, and nothing is done that would need a record.
    pub(super) is_journal_closed: bool,
}

impl State {
    /// Creates the state, from the journal if there is one.
    pub(super) fn new(
        settings: &ForwarderSettings,
    ) -> Result<(Self, Option<Journal>, Recovery), JournalError> {
        let mut state = Self::without_journal(settings);
        let (journal, recovery) = state.open_journal(settings)?;
        Ok((state, journal, recovery))
    }

    /// Creates an empty state.
    pub(super) fn without_journal(settings: &ForwarderSettings) -> Self {
        let hasher = IdHasher::default();
        let outgoing = Outgoing::new(hasher.clone(), max_decisions(&settings.tail));
        let mut sampler = TailSampler::new(settings.tail.clone(), hasher);
        if let Some((version, table)) = &settings.rules {
            sampler.set_counted_table(*version, table.clone());
        }
        Self {
            sampler,
            outgoing,
            in_flight: InFlight::default(),
            input: Input::new(&settings.tail),
            max_outgoing_bytes: settings.max_outgoing_bytes,
            journal_id: None,
            senders: Arc::default(),
            peers: None,
            parts: PartQueues::default(),
            spans_forwarded: 0,
            parts_rejected: 0,
            is_leaving: false,
            has_given_up: false,
            is_output_ended: false,
            is_journal_closed: false,
        }
    }

    /// Replaces this state, which has only rules, with that of a journal, and keeps the rules.
    pub(super) fn replace(&mut self, mut opened: Self) {
        opened.sampler.take_rules(&mut self.sampler);
        *self = Self {
            input: self.input,
            is_leaving: self.is_leaving,
            has_given_up: self.has_given_up,
            is_output_ended: self.is_output_ended,
            ..opened
        };
    }

    /// Opens the journal, if there should be one, and replays it into this state, which is empty.
    fn open_journal(
        &mut self,
        settings: &ForwarderSettings,
    ) -> Result<(Option<Journal>, Recovery), JournalError> {
        let Some(journal_settings) = &settings.journal else {
            return Ok((None, Recovery::default()));
        };
        let opened = recovery::open(
            journal_settings,
            &mut self.sampler,
            &mut self.outgoing,
            &mut self.parts,
        )?;
        let journal = opened.journal;
        self.journal_id = Some(journal.id());
        self.senders = journal.senders();
        self.peers = settings.peers.as_ref().map(|peers| {
            let max_trace_duration = settings.tail.max_trace_duration;
            let max_bytes = journal_settings.max_bytes;
            let last_record = opened.last_record;
            let mut peers = Peers::new(peers, max_trace_duration, max_bytes, last_record);
            peers.begin_settling(journal.active_segment());
            peers
        });
        Ok((Some(journal), opened.recovery))
    }

    /// The spans to send.
    pub(super) fn backlog(&self) -> Backlog {
        let batches = &self.outgoing.batches;
        Backlog {
            batches: batches.count(),
            bytes: batches.bytes() + self.in_flight.bytes(),
        }
    }

    /// Returns whether a shutdown that decides on all traces has something left to decide or to send,
    /// and was not given up. Without peers, parts for them are decided on here.
    pub(super) fn has_undelivered(&self) -> bool {
        let is_empty = self.sampler.totals().traces_gathering == 0 && self.backlog().bytes == 0;
        let has_parts = self.peers.is_none() && self.parts.count() > 0;
        !self.is_output_ended && (has_parts || !is_empty)
    }

    /// Returns whether there is no room for kept spans.
    pub(super) fn is_full(&self) -> bool {
        self.backlog().bytes > self.max_outgoing_bytes
    }

    /// A request is in the journal, and its effects follow.
    pub(super) fn begin(&mut self, appended: Appended) {
        if let Some(tracker) = &mut self.outgoing.tracker {
            tracker.begin(appended.record, appended.segment);
        }
    }

    /// Accepts a request, of which new traces are gathered or passed straight on; returns those that
    /// are passed on, if they are to be remembered in the journal.
    pub(super) fn accept(&mut self, scanned: &Scanned<'_>, is_gathering: bool) -> Vec<TraceId> {
        let outgoing = &mut self.outgoing;
        self.sampler
            .accept_as(scanned, is_gathering, Instant::now(), outgoing);
        let tracker = outgoing.tracker.as_mut();
        tracker.map(Tracker::take_passed).unwrap_or_default()
    }

    /// The decisions that are not in the journal yet.
    pub(super) fn decided(&self) -> Vec<(TraceId, Decision)> {
        let tracker = self.outgoing.tracker.as_ref();
        tracker.map_or_else(Vec::new, |tracker| tracker.decided().to_vec())
    }

    /// All decisions made so far are in the journal.
    pub(super) fn decisions_written(&mut self, appended: Appended) {
        if let Some(tracker) = &mut self.outgoing.tracker {
            tracker.decisions_written(appended.record, appended.segment);
        }
    }

    /// The next batch to send. None is handed out that the journal cannot confirm.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        if self.is_journal_closed {
            return None;
        }
        let tracker = self.outgoing.tracker.as_ref();
        let last_record = tracker.map_or(u64::MAX, Tracker::last_written_record);
        let batch = self.outgoing.batches.next(last_record)?;
        self.in_flight.add(&batch);
        Some(batch)
    }

    /// Frees the room of a batch that was sent. Returns whether it should be confirmed in the
    /// journal.
    pub(super) fn sent(&mut self, batch: &Batch) -> bool {
        let has_journal = self.outgoing.tracker.is_some();
        match has_journal {
            true => self.in_flight.sent_in_order(batch),
            false => self.in_flight.sent(batch),
        }
        has_journal
    }

    /// The last record that is in the journal.
    pub(super) fn last_record(&self) -> u64 {
        let tracker = self.outgoing.tracker.as_ref();
        tracker.map_or(0, Tracker::last_written_record)
    }

    /// The place before which all spans are sent.
    pub(super) fn confirmed(&self) -> Position {
        let tracker = self.outgoing.tracker.as_ref();
        let end = tracker.map(Tracker::end).unwrap_or_default();
        let first_unsent = self.in_flight.first_span();
        let first_unsent = first_unsent.or_else(|| self.outgoing.batches.first_span());
        first_unsent.map_or(end, |first| first.min(end))
    }

    /// Forgets the traces that were passed straight on, once new traces are no longer compared with
    /// them. Forgetting them earlier could split a trace, and a replay would have to do the same.
    pub(super) fn forget_passed(&mut self, now: Instant) {
        if !self.sampler.may_be_in_output(now) {
            self.outgoing.forget_passed();
        }
    }

    /// Returns whether nothing needs a segment of the journal any more.
    pub(super) fn is_released(&self, segment: u64, confirmed: Position) -> bool {
        let tracker = self.outgoing.tracker.as_ref();
        tracker.is_some_and(|tracker| tracker.is_released(segment, confirmed))
    }

    /// The segments before this one are deleted.
    pub(super) fn forget_segments_before(&mut self, first: u64) {
        if let Some(tracker) = &mut self.outgoing.tracker {
            tracker.forget_segments_before(first);
        }
    }
}
