//! Reading a journal.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
};

use super::{
    JournalError, Moved, Outcome, Replay, Routed,
    files::{self, FileKind},
    reason,
    record::{Damage, Fields, GATHERED, Kind, NUMBERED, Record, Records, write_bytes},
    remembered::{Block, Code, Entry, Remembered, RememberedFile, RememberedFiles},
    routed,
    senders::Senders,
    unix_ms,
};
use crate::{KeepReason, TraceId, forward::position::Position, tail::DECISION_RETENTION};

/// Counts of the records that were read from a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Replayed {
    pub(in crate::forward) requests: u64,
    pub(in crate::forward) decisions: u64,
    /// Files of which the rest could not be read.
    pub(in crate::forward) corrupt_files: u64,
    /// Intact records that this version does not understand.
    pub(in crate::forward) skipped_records: u64,
}

/// The files found, and the numbers with which to continue.
pub(super) struct Found {
    /// The segments, each with its number and size.
    pub(super) segments: VecDeque<(u64, u64)>,
    pub(super) next_segment: u64,
    pub(super) next_record: u64,
    pub(super) confirmed: Position,
    pub(super) remembered: RememberedFiles,
    pub(super) senders: Senders,
    pub(super) replayed: Replayed,
}

/// The number of the first record. Positions before it mean that nothing is sent yet.
const FIRST_RECORD: u64 = 1;
/// The largest number of a record in a valid file. It leaves room for all that follow.
const MAX_RECORD: u64 = u64::MAX / 2;

/// Reads a journal.
pub(super) fn read(folder: &Path, replay: &mut impl Replay) -> Result<Found, JournalError> {
    let numbers = files::list(folder, FileKind::Segment)?;
    let confirmed = last_confirmed(folder, &numbers)?;
    replay.confirmed(confirmed);
    let mut pass = Pass {
        folder,
        replay,
        replayed: Replayed::default(),
        confirmed,
        next_record: FIRST_RECORD,
        senders: Senders::default(),
        lost: BTreeMap::new(),
    };
    let (remembered_files, last_remembered) = pass.read_remembered(&numbers)?;
    let mut remembered = RememberedFiles::new(folder, remembered_files, last_remembered);
    let mut segments = VecDeque::new();
    for number in numbers.iter().copied() {
        pass.replay_lost(number);
        let is_last = numbers.last() == Some(&number);
        let (bytes, decisions) = pass.read_segment(number, is_last)?;
        if bytes == 0 && is_last {
            // Nothing but a part of its first record was written, and it is deleted.
            continue;
        }
        segments.push_back((number, bytes));
        if number > last_remembered {
            remembered.add(number, unix_ms(), decisions);
        }
    }
    pass.replay_lost(u64::MAX);
    Ok(Found {
        next_segment: numbers.last().copied().unwrap_or(0).max(last_remembered) + 1,
        segments,
        next_record: pass.next_record.max(confirmed.record),
        confirmed: pass.confirmed,
        remembered,
        senders: pass.senders,
        replayed: pass.replayed,
    })
}

/// The confirmed place in the last segment that has one: each segment begins with it. It only
/// grows, except at a start that skips records.
fn last_confirmed(folder: &Path, numbers: &[u64]) -> Result<Position, JournalError> {
    for number in numbers.iter().rev() {
        let bytes = files::read(&files::path(folder, FileKind::Segment, *number))?;
        let mut records = Records::new(*number, &bytes);
        let mut confirmed = None;
        // What follows a damaged record is reported when it is replayed.
        while let Ok(Some(record)) = records.next() {
            let mut fields = Fields(record.body);
            match record.kind {
                Some(Kind::Segment) => {
                    let _first_record = fields.u64();
                    confirmed = position(&mut fields).or(confirmed);
                }
                Some(Kind::Confirmed) => confirmed = position(&mut fields).or(confirmed),
                _ => {}
            }
        }
        if let Some(confirmed) = confirmed {
            return Ok(confirmed);
        }
    }
    Ok(Position::default())
}

fn position(fields: &mut Fields<'_>) -> Option<Position> {
    let (record, spans) = (fields.u64()?, fields.u64()?);
    (record <= MAX_RECORD && fields.is_empty()).then_some(Position { record, spans })
}

/// A replay in progress.
struct Pass<'a, R> {
    folder: &'a Path,
    replay: &'a mut R,
    replayed: Replayed,
    /// The place before which all spans were sent.
    confirmed: Position,
    next_record: u64,
    senders: Senders,
    /// The decisions of segments that are missing between others.
    lost: BTreeMap<u64, Block>,
}

/// The state of reading one segment.
#[derive(Default)]
struct Segment {
    number: u64,
    reasons: Vec<KeepReason>,
    remembered: Remembered,
}

impl<R: Replay> Pass<'_, R> {
    /// Reads the remembered decisions of segments that are deleted; returns the files and the last
    /// segment whose decisions they have.
    fn read_remembered(
        &mut self,
        segments: &[u64],
    ) -> Result<(VecDeque<RememberedFile>, u64), JournalError> {
        let mut files = VecDeque::new();
        let mut last_segment = 0;
        for number in files::list(self.folder, FileKind::Remembered)? {
            let path = files::path(self.folder, FileKind::Remembered, number);
            let bytes = files::read(&path)?;
            let mut file = RememberedFile {
                number,
                bytes: bytes.len() as u64,
                first_time: 0,
                last_time: 0,
            };
            let mut records = Records::new(number, &bytes);
            loop {
                let offset = records.offset();
                let block = match records.next() {
                    Ok(None) => break,
                    // The process was killed while it wrote the file, and has not deleted the
                    // segment.
                    Err(Damage::Torn) => break,
                    Err(Damage::Corrupt) => {
                        self.skip_rest(path, offset);
                        break;
                    }
                    Ok(Some(record)) => {
                        file.last_time = record.time;
                        Block::decode(record.body, record.time)
                            .filter(|_| record.kind == Some(Kind::Remembered))
                    }
                };
                let Some(block) = block else {
                    self.skip_record(&path, offset);
                    continue;
                };
                last_segment = last_segment.max(block.segment.min(MAX_RECORD));
                self.remember(block, segments);
            }
            files.push_back(file);
        }
        Ok((files, last_segment))
    }

    /// Applies the decisions of a deleted segment, or keeps them until it is their turn. A segment
    /// that still exists has its decisions itself.
    fn remember(&mut self, block: Block, segments: &[u64]) {
        let is_first = segments.first().is_none_or(|first| block.segment < *first);
        if is_first {
            self.replay_block(block);
        } else if segments.binary_search(&block.segment).is_err() {
            self.lost.insert(block.segment, block);
        }
    }

    /// Applies the decisions of missing segments before this one. They are missing if the oldest
    /// segment could not be deleted while later ones could.
    fn replay_lost(&mut self, before: u64) {
        while let Some(first) = self.lost.first_entry()
            && *first.key() < before
        {
            let block = first.remove();
            self.replay_block(block);
        }
    }

    fn replay_block(&mut self, block: Block) {
        let max_age = u64::try_from(DECISION_RETENTION.as_millis()).unwrap_or(u64::MAX);
        let oldest = unix_ms().saturating_sub(max_age);
        for entry in block.entries {
            if entry.time < oldest {
                continue;
            }
            let outcome = Outcome::new(entry.code, &block.reasons);
            self.replay.begin(0, block.segment, entry.time);
            self.replay.decision(entry.id, outcome);
            self.replayed.decisions += 1;
        }
    }

    /// Replays a segment; returns its size and its decisions.
    fn read_segment(
        &mut self,
        number: u64,
        is_last: bool,
    ) -> Result<(u64, Remembered), JournalError> {
        let path = files::path(self.folder, FileKind::Segment, number);
        let bytes = files::read(&path)?;
        let mut records = Records::new(number, &bytes);
        let mut segment = Segment {
            number,
            ..Segment::default()
        };
        let mut len = bytes.len() as u64;
        loop {
            let offset = records.offset();
            match records.next() {
                Ok(None) if is_last && offset == 0 => {
                    files::cut(&path, offset)?;
                    break;
                }
                Ok(None) => break,
                Ok(Some(record)) => {
                    // Each segment begins with its first record, so that it is read by itself.
                    let is_in_place = (record.kind == Some(Kind::Segment)) == (offset == 0);
                    if is_in_place && self.apply(&record, &mut segment).is_some() {
                        continue;
                    }
                    // Without the first record, the numbers of the others are unknown.
                    if offset > 0 {
                        self.skip_record(&path, offset);
                        continue;
                    }
                }
                Err(Damage::Torn) if is_last => {
                    // The process was killed while it wrote.
                    tracing::debug!(path = %path.display(), offset, "the last record is torn");
                    files::cut(&path, offset)?;
                    len = offset;
                    break;
                }
                Err(Damage::Torn | Damage::Corrupt) => {}
            }
            self.skip_rest(path, offset);
            break;
        }
        Ok((len, segment.remembered))
    }

    /// Applies a record; `None` if its content is not understood.
    fn apply(&mut self, record: &Record<'_>, segment: &mut Segment) -> Option<()> {
        if record.flags & NUMBERED != 0 {
            self.replay
                .begin(self.next_record, segment.number, record.time);
            self.next_record += 1;
        }
        match record.kind? {
            Kind::Segment => {
                let mut fields = Fields(record.body);
                let first = fields.u64().filter(|first| *first <= MAX_RECORD)?;
                position(&mut fields)?;
                // Records that are lost at the end of a corrupt segment had numbers, too.
                self.next_record = self.next_record.max(first);
            }
            Kind::Request => self.apply_request(record.body, record, segment)?,
            Kind::Routed => self.apply_routed(record, segment)?,
            Kind::Moved => self
                .replay
                .moved(&Moved::decode(record.body)?, segment.number),
            Kind::Forwarded => {
                let (peer, sequence) = routed::forwarded(record.body)?;
                self.replay.forwarded(peer, sequence);
            }
            Kind::Received => self.senders.decode(record.body)?,
            Kind::Reason => {
                segment.reasons.push(reason::decode(record.body));
                write_bytes(&mut segment.remembered.reasons, record.body);
            }
            Kind::Decisions => self.apply_decisions(record, segment)?,
            Kind::Confirmed => {
                position(&mut Fields(record.body))?;
            }
            Kind::Remembered => return None,
        }
        Some(())
    }

    fn apply_request(
        &mut self,
        request: &[u8],
        record: &Record<'_>,
        segment: &mut Segment,
    ) -> Option<()> {
        let is_gathered = record.flags & GATHERED != 0;
        let passed = self.replay.request(request, is_gathered)?;
        let entries = passed.into_iter().map(|id| Entry {
            id,
            code: Code::PASSED,
            time: record.time,
        });
        segment.remembered.entries.extend(entries);
        self.replayed.requests += 1;
        Some(())
    }

    fn apply_routed(&mut self, record: &Record<'_>, segment: &mut Segment) -> Option<()> {
        let routed = Routed::decode(record.body)?;
        // In any case, also if the spans that stay are not understood.
        if let Some((journal, sequence)) = routed.from {
            self.senders.record(journal, sequence);
        }
        self.replay.parts(&routed);
        match routed.here {
            Some(request) => self.apply_request(request, record, segment),
            None => Some(()),
        }
    }

    fn apply_decisions(&mut self, record: &Record<'_>, segment: &mut Segment) -> Option<()> {
        let mut fields = Fields(record.body);
        while !fields.is_empty() {
            let id = TraceId::from_bytes(fields.array()?);
            let code = Code(fields.u16()?);
            let outcome = Outcome::new(code, &segment.reasons);
            self.replay.decision(id, outcome);
            segment.remembered.entries.push(Entry {
                id,
                code,
                time: record.time,
            });
            self.replayed.decisions += 1;
        }
        Some(())
    }

    /// Skips an intact record that this version does not understand.
    fn skip_record(&mut self, path: &Path, offset: u64) {
        // Only the first one is logged: a later version may have written most of the journal.
        if self.replayed.skipped_records == 0 {
            let path = path.display();
            tracing::warn!(%path, offset, "skipped an unknown record of the journal");
        }
        self.replayed.skipped_records += 1;
        self.unconfirm_part_of_record();
    }

    /// Reports a record that cannot be read, after which the rest of its file is skipped.
    fn skip_rest(&mut self, path: PathBuf, offset: u64) {
        self.replayed.corrupt_files += 1;
        let error = JournalError::Corrupt { path, offset };
        tracing::warn!(%error, "skipped the rest of a file of the journal");
        self.unconfirm_part_of_record();
    }

    /// Confirms whole records only. Without the spans of a record that is skipped, a later decision
    /// causes fewer spans than it did, so a place among them means another span.
    fn unconfirm_part_of_record(&mut self) {
        self.confirmed.spans = 0;
        self.replay.confirmed(self.confirmed);
    }
}
