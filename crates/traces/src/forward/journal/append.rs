//! Appending to a journal.

use super::{
    Appended, Journal, JournalError, Moved, Routed, RoutedPart, Segments, millis,
    record::{GATHERED, HEADER_BYTES, Kind, NUMBERED},
    remembered::{Code, Entry},
    routed, segment, unix_ms,
};
use crate::{KeepReason, TraceId, forward::position::Position, tail::Decision};

impl Journal {
    /// Appends a request that arrives now, and stays as a whole.
    pub(in crate::forward) fn append_request(
        &mut self,
        request: &[u8],
        is_gathered: bool,
    ) -> Result<Appended, JournalError> {
        let max_bytes = self.settings.max_bytes / 2;
        self.append_spans(Kind::Request, request, is_gathered, max_bytes)
    }

    /// Appends a request that was divided, or that a peer has sent. One from a peer may be as large
    /// as the journal: if it were refused, the peer would repeat it for ever.
    pub(in crate::forward) fn append_routed(
        &mut self,
        routed: &Routed<'_>,
        is_gathered: bool,
    ) -> Result<Appended, JournalError> {
        let divisor = if routed.from.is_some() { 1 } else { 2 };
        let max_bytes = self.settings.max_bytes / divisor;
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        routed.encode(&mut body);
        let appended = self.append_spans(Kind::Routed, &body, is_gathered, max_bytes);
        self.body = body;
        let appended = appended?;
        if let Some((journal, sequence)) = routed.from {
            self.senders.lock().record(journal, sequence);
        }
        Ok(appended)
    }

    /// Appends a record of spans, of at most `max_bytes`, if there is room.
    fn append_spans(
        &mut self,
        kind: Kind,
        body: &[u8],
        is_gathered: bool,
        max_bytes: u64,
    ) -> Result<Appended, JournalError> {
        self.check_room(body.len(), max_bytes)?;
        let flags = NUMBERED | if is_gathered { GATHERED } else { 0 };
        let time = unix_ms();
        self.roll_if_full(time)?;
        self.active.append((kind, flags, time), body)?;
        Ok(self.number())
    }

    /// Appends the sequence up to which a peer has all parts for it.
    pub(in crate::forward) fn append_forwarded(
        &mut self,
        peer: u16,
        sequence: u64,
    ) -> Result<(), JournalError> {
        let body = routed::forwarded_body(peer, sequence);
        self.active.append((Kind::Forwarded, 0, unix_ms()), &body)
    }

    fn check_room(&self, body_bytes: usize, max_bytes: u64) -> Result<(), JournalError> {
        let bytes = (HEADER_BYTES + body_bytes) as u64;
        let path = || self.settings.folder.clone();
        if bytes > max_bytes {
            return Err(JournalError::TooLarge { path: path() });
        }
        if self.bytes() + bytes > self.limit() {
            return Err(JournalError::Full { path: path() });
        }
        Ok(())
    }

    /// Appends decisions made now; `reason` returns the reason with a number. They are not bounded,
    /// since without them nothing can be deleted.
    pub(in crate::forward) fn append_decisions(
        &mut self,
        decided: &[(TraceId, Decision)],
        reason: impl Fn(u32) -> Option<KeepReason>,
    ) -> Result<Appended, JournalError> {
        let time = unix_ms();
        self.roll_if_full(time)?;
        self.body.clear();
        let mut entries = Vec::with_capacity(decided.len());
        for (id, decision) in decided {
            let code = match decision {
                Decision::Dropped => Code::DROPPED,
                Decision::Kept(number) => Code::kept(self.active.reason(*number, time, &reason)?),
            };
            self.body.extend_from_slice(&id.to_bytes());
            self.body.extend_from_slice(&code.0.to_le_bytes());
            entries.push(Entry {
                id: *id,
                code,
                time,
            });
        }
        let fields = (Kind::Decisions, NUMBERED, time);
        self.active.append(fields, &self.body)?;
        self.active.remembered.entries.extend(entries);
        Ok(self.number())
    }

    /// Remembers the traces that the last request passed straight on, which the journal contains
    /// already.
    pub(in crate::forward) fn remember_passed(&mut self, passed: Vec<TraceId>) {
        if passed.is_empty() {
            return;
        }
        let time = unix_ms();
        let entries = passed.into_iter().map(|id| Entry {
            id,
            code: Code::PASSED,
            time,
        });
        self.active.remembered.entries.extend(entries);
    }

    /// Appends the place before which all spans are sent, if it is a new one.
    pub(in crate::forward) fn confirm(&mut self, confirmed: Position) -> Result<(), JournalError> {
        if confirmed > self.confirmed {
            let body = segment::position_body(confirmed);
            self.active.append((Kind::Confirmed, 0, unix_ms()), &body)?;
            self.confirmed = confirmed;
        }
        Ok(())
    }

    /// Writes the parts of a segment to the active one, even beyond the limit.
    pub(super) fn move_parts(
        &mut self,
        segment: u64,
        segments: &impl Segments,
        now: u64,
    ) -> Result<(), JournalError> {
        for (place, part) in segments.parts_in(segment) {
            self.roll_if_full(now)?;
            let record = Moved {
                sequence: place.sequence,
                accepted: now.saturating_sub(millis(part.accepted.elapsed())),
                part: RoutedPart {
                    to: place.peer,
                    visited: part.visited,
                    request: &part.request,
                },
            };
            self.body.clear();
            record.encode(&mut self.body);
            self.active.append((Kind::Moved, 0, now), &self.body)?;
            segments.set_segment(place, self.active.number);
        }
        Ok(())
    }

    /// Numbers the record that was just appended.
    fn number(&mut self) -> Appended {
        let record = self.next_record;
        self.next_record += 1;
        Appended {
            record,
            segment: self.active.number,
        }
    }
}
