//! The effects of a journal's records: the spans they cause to be forwarded, and the traces that
//! still need them.

use std::collections::BTreeMap;

use super::position::Position;
use crate::{TraceId, tail::Decision};

/// Follows the effects of records, also while they are replayed.
pub(super) struct Tracker {
    /// The place after the last span.
    position: Position,
    /// The spans before this place were sent by an earlier process.
    pub(super) confirmed: Position,
    is_replaying: bool,
    /// The decisions that are not in the journal yet. The next record contains them.
    decided: Vec<(TraceId, Decision)>,
    /// The traces that the present record passed straight on.
    passed: Vec<TraceId>,
    segments: BTreeMap<u64, SegmentUse>,
    /// The segment of the last record.
    segment: u64,
    /// The spans of earlier processes that are sent again.
    resent: u64,
}

/// The uses of a segment, which keep it from being deleted.
#[derive(Clone, Copy, Debug, Default)]
struct SegmentUse {
    /// The traces that wait and have their first span in it.
    waiting: u64,
    /// The last record in it, or the last one that decided on a trace that began in it.
    last_record: u64,
}

impl Tracker {
    /// Creates a tracker that discards the spans before the confirmed place until the replay ends.
    pub(super) fn replaying() -> Self {
        Self {
            position: Position::default(),
            confirmed: Position::default(),
            is_replaying: true,
            decided: Vec::new(),
            passed: Vec::new(),
            segments: BTreeMap::new(),
            segment: 0,
            resent: 0,
        }
    }

    /// Ends the replay, after this record.
    pub(super) fn end_replay(&mut self, last_record: u64) {
        self.is_replaying = false;
        self.position = Position::before(last_record);
    }

    /// The spans of earlier processes that are sent again.
    pub(super) fn resent(&self) -> u64 {
        self.resent
    }

    /// The last record that has, or will have, an effect.
    fn last_record(&self) -> u64 {
        self.position.record
    }

    /// The last record that is in the journal.
    pub(super) fn last_written_record(&self) -> u64 {
        match self.decided.is_empty() {
            true => self.last_record(),
            false => self.last_record() - 1,
        }
    }

    /// The place after everything that the journal's records have caused so far.
    pub(super) fn end(&self) -> Position {
        Position::before(self.last_written_record() + 1)
    }

    /// A record is in the journal, and its effects follow.
    pub(super) fn begin(&mut self, record: u64, segment: u64) {
        self.position = Position::before(record);
        self.place(record, segment);
    }

    /// The effects of a record in a deleted segment follow.
    pub(super) fn begin_deleted(&mut self) {
        self.position = Position::default();
    }

    /// The decisions made since the last record, which are not in the journal yet.
    pub(super) fn decided(&self) -> &[(TraceId, Decision)] {
        &self.decided
    }

    /// The decisions are in the journal.
    pub(super) fn decisions_written(&mut self, record: u64, segment: u64) {
        self.decided.clear();
        self.place(record, segment);
    }

    fn place(&mut self, record: u64, segment: u64) {
        self.segment = segment;
        let used = self.segments.entry(segment).or_default();
        used.last_record = used.last_record.max(record);
    }

    /// The traces that the last record passed straight on.
    pub(super) fn take_passed(&mut self) -> Vec<TraceId> {
        std::mem::take(&mut self.passed)
    }

    /// A trace was passed straight on.
    pub(super) fn pass(&mut self, id: TraceId) {
        self.passed.push(id);
    }

    /// The segment of the last record.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// A trace waits, and its first span is in the last record.
    pub(super) fn wait(&mut self) {
        self.segments.entry(self.segment).or_default().waiting += 1;
    }

    /// A trace that waited, and has its first span in this segment, was decided, and its spans
    /// follow.
    pub(super) fn decide(&mut self, id: TraceId, decision: Decision, segment: u64) {
        if !self.is_replaying {
            if self.decided.is_empty() {
                self.position = Position::before(self.position.record + 1);
            }
            self.decided.push((id, decision));
        }
        let record = self.last_record();
        let used = self.segments.entry(segment).or_default();
        used.waiting = used.waiting.saturating_sub(1);
        used.last_record = used.last_record.max(record);
    }

    /// The place of a span to forward; `None` if an earlier process has sent it.
    pub(super) fn next_span(&mut self) -> Option<Position> {
        let at = self.position;
        self.position.spans += 1;
        if self.is_replaying {
            if at < self.confirmed {
                return None;
            }
            self.resent += 1;
        }
        Some(at)
    }

    /// Returns whether nothing needs a segment any more, if the spans before `confirmed` are sent
    /// and no older segment is needed. A trace keeps all segments from the one of its first span.
    pub(super) fn is_released(&self, segment: u64, confirmed: Position) -> bool {
        let used = self.segments.get(&segment).copied().unwrap_or_default();
        used.waiting == 0 && used.last_record < confirmed.record
    }

    /// Returns whether traces wait that have their first span in a segment before this one.
    pub(super) fn is_waiting_before(&self, segment: u64) -> bool {
        let mut segments = self.segments.range(..segment);
        segments.any(|(_, used)| used.waiting > 0)
    }

    /// The segments before this one are deleted.
    pub(super) fn forget_segments_before(&mut self, first: u64) {
        while let Some(oldest) = self.segments.first_entry()
            && *oldest.key() < first
        {
            oldest.remove();
        }
    }
}
