//! A forwarder's state and its journal, under their locks.
//!
//! The journal's lock is held while a record is appended and until it has taken effect. So the order
//! of the journal's records equals the order of their effects: a request is appended before its spans
//! are routed, and the decisions made since are appended before the next record ([`routing`]).
//!
//! The state's lock is taken within it, for each change, and never held while a file is written. The
//! kernel delays a write for as long as the disk is slower than the requests, which may be seconds;
//! then senders and decisions wait, but metrics, reports, new rules and the next batch do not.

mod routing;

use std::{path::PathBuf, time::Instant};

use parking_lot::{Mutex, MutexGuard};

use super::{
    ForwarderSettings,
    journal::{Appended, Journal, JournalError, Segments},
    outgoing::Outgoing,
    position::Position,
    queues::{PartPlace, QueuedPart},
    recovery::Recovery,
    state::State,
};
use crate::{receiver::AcceptError, tail::TailSampler};

pub(super) struct Journaled {
    /// Locked before the state.
    journal: Mutex<Option<Journal>>,
    state: Mutex<State>,
}

impl Journaled {
    /// Creates the state, from the journal if there is one.
    pub(super) fn open(settings: &ForwarderSettings) -> Result<(Self, Recovery), JournalError> {
        let (state, journal, recovery) = State::new(settings)?;
        let journaled = Self {
            journal: Mutex::new(journal),
            state: Mutex::new(state),
        };
        Ok((journaled, recovery))
    }

    /// Creates an empty state, whose journal is opened later.
    pub(super) fn without_journal(settings: &ForwarderSettings) -> Self {
        let mut state = State::without_journal(settings);
        state.is_journal_closed = true;
        Self {
            journal: Mutex::new(None),
            state: Mutex::new(state),
        }
    }

    /// Opens the journal of such a state. The locks are not held while it is read, since others read
    /// the state and change its rules meanwhile.
    pub(super) fn open_journal(
        &self,
        settings: &ForwarderSettings,
    ) -> Result<Recovery, JournalError> {
        let (opened, journal, recovery) = State::new(settings)?;
        let mut present = self.journal.lock();
        self.state.lock().replace(opened);
        *present = journal;
        Ok(recovery)
    }

    /// The state, for what needs no record. The caller does not lock the journal meanwhile.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Locks the journal. Blocks while others write to it, even if the state is not locked.
    pub(super) fn appender(&self) -> Appender<'_> {
        Appender {
            journal: self.journal.lock(),
            state: &self.state,
        }
    }
}

/// Makes the changes that need a record, if there is a journal. Others wait meanwhile.
pub(super) struct Appender<'a> {
    journal: MutexGuard<'a, Option<Journal>>,
    state: &'a Mutex<State>,
}

impl Appender<'_> {
    /// Lets those who wait for the journal have their turn.
    pub(super) fn bump(&mut self) {
        MutexGuard::bump(&mut self.journal);
    }

    /// Ends, and lets those who wait for the journal have their turn.
    pub(super) fn end(self) {
        MutexGuard::unlock_fair(self.journal);
    }

    /// Decides early, to make room for a request of this length; returns true if there is still
    /// none and there may be traces left to decide on.
    pub(super) fn decide_early(&mut self, request_bytes: usize) -> bool {
        self.decide(|sampler, outgoing| sampler.decide_early(request_bytes, outgoing))
    }

    /// Makes decisions, unless there is no room for them or for kept spans; returns whether there
    /// are more to make.
    pub(super) fn decide(
        &mut self,
        decide_some: impl FnOnce(&mut TailSampler, &mut Outgoing) -> bool,
    ) -> bool {
        // Without room in the journal or for kept spans, traces wait, and no request is accepted.
        if !self.can_decide() || !self.append_decisions() {
            return false;
        }
        let has_more = {
            let mut state = self.state.lock();
            state.wait_for_spans(Instant::now());
            let State {
                sampler, outgoing, ..
            } = &mut *state;
            decide_some(sampler, outgoing)
        };
        self.append_decisions() && has_more
    }

    fn can_decide(&self) -> bool {
        let state = self.state.lock();
        !(state.is_journal_closed || state.is_full())
    }

    /// Appends the decisions made since the last record. If that fails, it is attempted again
    /// before the next record; until then, no decision may be made, and no batch with spans of
    /// these decisions is handed out. A process that is started again could decide differently.
    fn append_decisions(&mut self) -> bool {
        let state = self.state;
        let Some(journal) = &mut *self.journal else {
            return true;
        };
        let decided = state.lock().decided();
        if decided.is_empty() {
            return true;
        }
        let reason = |number| state.lock().outgoing.reasons.get(number).cloned();
        match journal.append_decisions(&decided, reason) {
            Ok(appended) => {
                // No others were made meanwhile, since making them takes the journal's lock.
                state.lock().decisions_written(appended);
                true
            }
            Err(error) => {
                journal.warn(&error);
                false
            }
        }
    }

    /// Appends the place before which all spans are sent, and returns it. If the journal has no
    /// room for it, spans may be sent again after a restart.
    pub(super) fn confirm(&mut self) -> Position {
        let (confirmed, is_closed) = {
            let state = self.state.lock();
            (state.confirmed(), state.is_journal_closed)
        };
        if !is_closed
            && let Some(journal) = &mut *self.journal
            && let Err(error) = journal.confirm(confirmed)
        {
            journal.warn(&error);
        }
        confirmed
    }

    /// Writes all pending records to the journal, and closes it: until it is opened again, nothing
    /// is decided, no request is accepted and no batch is handed out. Returns the number of the
    /// last record; `None` if no journal is open, or if decisions cannot be written, which leaves
    /// it open.
    pub(super) fn close(&mut self) -> Option<u64> {
        let is_closed = self.state.lock().is_journal_closed;
        if is_closed || !self.append_decisions() {
            return None;
        }
        self.record_forwarded();
        self.confirm();
        let last_record = self.journal.as_ref()?.last_record();
        self.state.lock().is_journal_closed = true;
        Some(last_record)
    }

    /// Returns whether other files of this size have room beside the journal: together with it they
    /// may take three fifths of its limit.
    pub(super) fn has_room_beside(&self, bytes: u64) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| journal.has_room_beside(bytes))
    }

    /// Lowers the journal's limit by the size of other files.
    pub(super) fn set_reserved(&mut self, bytes: u64) {
        if let Some(journal) = &mut *self.journal {
            journal.set_reserved(bytes);
        }
    }

    /// Writes all pending records to the journal, and removes segments and traces that are no
    /// longer needed. Returns the paths of the files to delete; deleting them needs no lock.
    pub(super) fn clean_up(&mut self) -> Vec<PathBuf> {
        let now = Instant::now();
        if self.state.lock().is_journal_closed {
            return Vec::new();
        }
        self.state.lock().forget_passed(now);
        self.divide_abandoned(now);
        self.append_decisions();
        self.record_forwarded();
        let confirmed = self.confirm();
        let state = self.state;
        let Some(journal) = &mut *self.journal else {
            return Vec::new();
        };
        let (paths, result) = journal.clean_up(&Uses { state, confirmed });
        if let Err(error) = result {
            journal.warn(&error);
        }
        let first = journal.first_segment();
        let mut state = state.lock();
        state.forget_segments_before(first);
        state.update_settled(now);
        paths
    }
}

/// The uses of the journal's segments, if the spans before `confirmed` are sent.
struct Uses<'a> {
    state: &'a Mutex<State>,
    confirmed: Position,
}

impl Segments for Uses<'_> {
    fn is_released(&self, segment: u64) -> bool {
        self.state.lock().is_released(segment, self.confirmed)
    }

    fn has_parts_in(&self, segment: u64) -> bool {
        self.state.lock().parts.has_in_segment(segment)
    }

    fn parts_in(&self, segment: u64) -> Vec<(PartPlace, QueuedPart)> {
        self.state.lock().parts.in_segment(segment)
    }

    fn set_segment(&self, part: PartPlace, segment: u64) {
        self.state.lock().parts.set_segment(part, segment);
    }
}

/// The record of a request, or the reason to refuse it.
fn accepted_record(
    journal: &mut Journal,
    appended: Result<Appended, JournalError>,
) -> Result<Appended, AcceptError> {
    appended.map_err(|error| match error {
        JournalError::TooLarge { .. } => AcceptError::TooLargeForJournal,
        error => {
            journal.warn(&error);
            AcceptError::Journal
        }
    })
}
