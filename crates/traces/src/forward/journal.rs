//! The journal of a forwarder, which a process that is started again replays.
//!
//! The journal is a sequence of records in segments: the requests that were accepted, the decisions
//! on traces, and the spans that are confirmed as sent. The order of records is that of their effects
//! ([`journaled`](super::journaled)), and replay is deterministic: it feeds the requests to the same
//! sampler, and applies the decisions instead of deciding again. Requests and decisions are numbered;
//! each span that is forwarded has a [`Position`], the record that caused it and its number among
//! those of this record. Replay discards the spans before the confirmed position and forwards the
//! others again.
//!
//! A request is in the journal before its spans have an effect. Decisions are in the journal before
//! a batch with their spans is handed out.
//!
//! What is written survives the process, whether it is killed by SIGKILL or for lack of memory.
//! Files are not synchronised, so the loss of a node may lose the last seconds.
//!
//! What follows a damaged record in its segment cannot be read; the next segment has its numbers in
//! its first record. An intact record that only a later version understands is skipped alone.
//!
//! A segment is deleted when every trace with spans in it or in an older segment is decided and
//! sent. Its decisions are remembered in other files for ten minutes ([`remembered`]).

mod files;
mod reason;
mod record;
mod remembered;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::position::Position;
use crate::{KeepReason, TraceId, tail::Decision};
use files::FileKind;
pub(super) use files::delete;
use record::{GATHERED, HEADER_BYTES, Kind, NUMBERED};
use remembered::{Code, Entry, RememberedFiles};
pub(super) use replay::{Outcome, Replay, Replayed};
use segment::ActiveSegment;

/// The settings of a forwarder's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// The folder, which one process uses at a time. It is created if it does not exist.
    pub folder: PathBuf,
    /// The most bytes of requests and decisions. At this size, requests are refused until some are
    /// sent.
    ///
    /// The volume needs a tenth more, since decisions are written in any case. A journal holds what
    /// arrives in [`TailSettings::max_trace_duration`](crate::TailSettings::max_trace_duration) at
    /// least.
    pub max_bytes: u64,
}

/// Failure to use a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder or its lock file cannot be created.
    #[error("cannot open the journal {}", path.display())]
    Open {
        /// The folder or the lock file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("another process uses the journal {}", path.display())]
    Lock {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write to the journal {}", path.display())]
    Append {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read the journal {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A record is not as it was written.
    #[error("the journal {} is corrupt at byte {offset}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The place of the record.
        offset: u64,
    },
    /// The journal has the most bytes that its settings allow.
    #[error("the journal {} is full", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// A request alone needs more than half of the journal.
    #[error("the request is too large for the journal {}", path.display())]
    TooLarge {
        /// The folder.
        path: PathBuf,
    },
}

/// A journal consists of at least this many segments when it is full: what is deleted is a small
/// part of it.
const MIN_SEGMENTS: u64 = 16;
/// The limits of a segment's size. It is read into memory as a whole.
const MIN_SEGMENT_BYTES: u64 = 16 << 10;
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
/// A full journal refuses each request: one line in a while is enough.
const MIN_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// The most bytes of remembered decisions, as a part of the journal.
const REMEMBERED_PART: u64 = 4;

/// The present time, in milliseconds since 1970, the unit of records.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A journal to append to.
pub(super) struct Journal {
    settings: JournalSettings,
    _lock: File,
    /// The segments before the active one, each with its number and size, the oldest first.
    sealed: VecDeque<(u64, u64)>,
    active: ActiveSegment,
    segment_bytes: u64,
    /// The number of the next numbered record.
    next_record: u64,
    /// The last position that the journal contains as confirmed.
    confirmed: Position,
    remembered: RememberedFiles,
    /// Reused for the bodies of records.
    body: Vec<u8>,
    last_warning: Option<Instant>,
}

/// The number of a record and that of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) record: u64,
    pub(super) segment: u64,
}

impl Journal {
    /// Opens a journal, replays it, and begins a segment. Blocks until everything is read.
    pub(super) fn open(
        settings: &JournalSettings,
        replay: &mut impl Replay,
    ) -> Result<(Self, Replayed), JournalError> {
        let lock = files::lock(&settings.folder)?;
        let found = replay::read(&settings.folder, replay)?;
        let first = (found.next_record, found.confirmed);
        let active = ActiveSegment::create(&settings.folder, found.next_segment, unix_ms(), first)?;
        let journal = Self {
            segment_bytes: (settings.max_bytes / MIN_SEGMENTS)
                .clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
            settings: settings.clone(),
            _lock: lock,
            sealed: found.segments,
            active,
            next_record: found.next_record,
            confirmed: found.confirmed,
            remembered: found.remembered,
            body: Vec::new(),
            last_warning: None,
        };
        Ok((journal, found.replayed))
    }

    /// The number of the last numbered record.
    pub(super) fn last_record(&self) -> u64 {
        self.next_record.saturating_sub(1)
    }

    /// The bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|(_, bytes)| bytes).sum();
        sealed + self.active.bytes + self.remembered.bytes()
    }

    /// Appends a request that arrives now.
    pub(super) fn append_request(
        &mut self,
        request: &[u8],
        is_gathered: bool,
    ) -> Result<Appended, JournalError> {
        let bytes = (HEADER_BYTES + request.len()) as u64;
        let path = || self.settings.folder.clone();
        if bytes > self.settings.max_bytes / 2 {
            return Err(JournalError::TooLarge { path: path() });
        }
        if self.bytes() + bytes > self.settings.max_bytes {
            return Err(JournalError::Full { path: path() });
        }
        let flags = NUMBERED | if is_gathered { GATHERED } else { 0 };
        let time = unix_ms();
        self.roll_if_full(time)?;
        self.active.append((Kind::Request, flags, time), request)?;
        Ok(self.number())
    }

    /// Appends decisions made now, with the reasons of these numbers. They are not bounded, since
    /// without them nothing can be deleted.
    pub(super) fn append_decisions(
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
    pub(super) fn remember_passed(&mut self, passed: Vec<TraceId>) {
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
    pub(super) fn confirm(&mut self, confirmed: Position) -> Result<(), JournalError> {
        if confirmed > self.confirmed {
            let body = segment::position_body(confirmed);
            self.active.append((Kind::Confirmed, 0, unix_ms()), &body)?;
            self.confirmed = confirmed;
        }
        Ok(())
    }

    /// Writes what is to be remembered, and removes what is no longer needed: the oldest segments
    /// that are released, and decisions that are too old. Returns the paths of the files to delete.
    pub(super) fn clean_up(
        &mut self,
        is_released: impl Fn(u64) -> bool,
    ) -> (Vec<PathBuf>, Result<(), JournalError>) {
        let now = unix_ms();
        // Only a sealed segment can be deleted.
        let rolled = self.roll_if_full(now);
        let result = rolled.and(self.remembered.write(self.segment_bytes));
        let mut paths = Vec::new();
        while let Some((number, _)) = self.sealed.front().copied()
            && is_released(number)
        {
            // Without space for its decisions, one segment is deleted before they are written.
            // Otherwise a full disk would stay full.
            let is_remembered = number <= self.remembered.last_segment();
            if !is_remembered && !paths.is_empty() {
                break;
            }
            self.sealed.pop_front();
            paths.push(files::path(
                &self.settings.folder,
                FileKind::Segment,
                number,
            ));
        }
        let max_bytes = self.settings.max_bytes / REMEMBERED_PART;
        paths.extend(self.remembered.expire(now, max_bytes));
        (paths, result)
    }

    /// Logs a failure, unless one was logged within the last minute.
    pub(super) fn warn(&mut self, error: &JournalError) {
        let is_recent = |last: Instant| last.elapsed() < MIN_WARNING_INTERVAL;
        if self.last_warning.is_some_and(is_recent) {
            return;
        }
        self.last_warning = Some(Instant::now());
        let source = std::error::Error::source(error).map(ToString::to_string);
        let source = source.as_deref().unwrap_or_default();
        tracing::warn!(%error, source, "cannot append to the journal; requests are refused");
    }

    /// The oldest segment.
    pub(super) fn first_segment(&self) -> u64 {
        let sealed = self.sealed.front().map(|(number, _)| *number);
        sealed.unwrap_or(self.active.number)
    }

    fn number(&mut self) -> Appended {
        let record = self.next_record;
        self.next_record += 1;
        Appended {
            record,
            segment: self.active.number,
        }
    }

    /// Begins another segment if the active one is full.
    fn roll_if_full(&mut self, time: u64) -> Result<(), JournalError> {
        if self.active.bytes < self.segment_bytes && !self.active.is_out_of_reasons() {
            return Ok(());
        }
        let folder = &self.settings.folder;
        let number = self.active.number + 1;
        let first = (self.next_record, self.confirmed);
        let next = ActiveSegment::create(folder, number, time, first)?;
        let sealed = std::mem::replace(&mut self.active, next);
        self.sealed.push_back((sealed.number, sealed.bytes));
        self.remembered.add(sealed.number, time, sealed.remembered);
        Ok(())
    }
}
