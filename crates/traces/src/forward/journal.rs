//! The journal of a forwarder, which is replayed when the process is started again.
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
//! Written records survive the process, even if it is killed by SIGKILL or for lack of memory.
//! Files are not synchronised, so the crash of a node may lose the last seconds.
//!
//! The rest of a segment after a damaged record cannot be read; the next segment has the numbers to
//! continue with in its first record. Of intact records, only those that a later version has
//! written and this one does not understand are skipped.
//!
//! A segment is deleted when every trace with spans in it or in an older segment is decided and
//! sent. Its decisions are remembered in other files for ten minutes ([`remembered`]).
//!
//! Among several samplers, a request is written with its division ([`routed`]): the spans that
//! stay, and the part for each peer, with the number of the record as its sequence. So replay needs
//! neither rings nor look-ups. The record of a peer's part has that part's sequence in the peer's
//! journal: the part and the knowledge that it was received cannot be separated. Parts that wait
//! for a peer keep their segment while there is room. In a journal that is more than half full,
//! they are written again to the active segment, so that the old one can be deleted. Otherwise the
//! journals of two samplers could stay full of parts for each other for ever.

mod append;
mod effects;
mod files;
mod id;
mod reason;
mod record;
mod remembered;
mod replay;
mod routed;
mod segment;
mod senders;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use super::{
    position::Position,
    queues::{PartPlace, QueuedPart},
};
pub(super) use effects::{Outcome, Replay};
use files::FileKind;
pub(super) use files::delete;
pub use files::is_journal_file;
pub use id::JournalId;
use remembered::RememberedFiles;
pub(super) use replay::Replayed;
pub(super) use routed::{Moved, Routed, RoutedPart};
use segment::{ActiveSegment, First};
pub(super) use senders::Senders;

/// The settings of a forwarder's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// The folder, which one process uses at a time. It is created if it does not exist.
    pub folder: PathBuf,
    /// The most bytes of requests and decisions. At this size, requests are refused until some are
    /// sent.
    ///
    /// The volume needs a tenth more, since decisions are written in any case. There should be room
    /// for what arrives within
    /// [`TailSettings::max_trace_duration`](crate::TailSettings::max_trace_duration).
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
/// A full journal refuses every request, each of which would log a warning.
const MIN_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// The journal's limit divided by this is the most bytes of remembered decisions.
const REMEMBERED_DIVISOR: u64 = 4;
/// The journal's limit, without the remembered decisions, divided by this is the size up to which
/// segments are kept for the parts in them. It is more than all parts should take
/// (`PENDING_DIVISOR` of `peers`), so that moving them frees room, and leaves enough of it that no
/// requests are refused.
const KEPT_FOR_PARTS_DIVISOR: u64 = 2;

/// The present time, in milliseconds since 1970, the unit of records.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The bits of a record's number below the time of the start, in milliseconds.
///
/// The crash of a node may lose the last records. Parts that are numbered like lost ones would count
/// as received, so each start continues with a number that no earlier process has reached: at most a
/// million records each millisecond.
const RECORDS_PER_MS_BITS: u32 = 20;
/// The latest time that determines a number, in the year 2109: a clock that is set to a later one
/// must not exhaust the numbers.
const MAX_FIRST_RECORD_MS: u64 = 1 << 42;

/// The first number of a process that starts now, if earlier ones have used fewer.
fn first_record(next: u64) -> u64 {
    next.max(unix_ms().min(MAX_FIRST_RECORD_MS) << RECORDS_PER_MS_BITS)
}

/// A duration in milliseconds, the unit of records.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A journal to append to.
pub(super) struct Journal {
    id: JournalId,
    settings: JournalSettings,
    /// The bytes of other files on the volume, which lower the limit.
    reserved: u64,
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
    /// Also read without the journal's lock.
    senders: Arc<Mutex<Senders>>,
    /// Reused for the bodies of records.
    body: Vec<u8>,
    last_warning: Option<Instant>,
}

/// The state, as far as it determines which segments are needed.
pub(super) trait Segments {
    /// Returns whether nothing needs a segment any more, apart from its parts for peers.
    fn is_released(&self, segment: u64) -> bool;

    /// Returns whether a segment has parts that peers have not received.
    fn has_parts_in(&self, segment: u64) -> bool;

    /// The parts in a segment that peers have not received.
    fn parts_in(&self, segment: u64) -> Vec<(PartPlace, QueuedPart)>;

    /// A part was moved to another segment.
    fn set_segment(&self, part: PartPlace, segment: u64);
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
        let folder = &settings.folder;
        let lock = files::lock(folder)?;
        let id = JournalId::in_folder(folder)?;
        let found = replay::read(folder, replay)?;
        let next_record = first_record(found.next_record);
        let first = First {
            record: next_record,
            confirmed: found.confirmed,
            senders: &found.senders,
        };
        let active = ActiveSegment::create(folder, found.next_segment, unix_ms(), first)?;
        let journal = Self {
            id,
            segment_bytes: (settings.max_bytes / MIN_SEGMENTS)
                .clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
            settings: settings.clone(),
            reserved: 0,
            _lock: lock,
            sealed: found.segments,
            active,
            next_record,
            confirmed: found.confirmed,
            remembered: found.remembered,
            senders: Arc::new(Mutex::new(found.senders)),
            body: Vec::new(),
            last_warning: None,
        };
        Ok((journal, found.replayed))
    }

    pub(super) fn id(&self) -> JournalId {
        self.id
    }

    /// The last sequences received of peers, for all of which there are records.
    pub(super) fn senders(&self) -> Arc<Mutex<Senders>> {
        Arc::clone(&self.senders)
    }

    /// The number of the last numbered record.
    pub(super) fn last_record(&self) -> u64 {
        self.next_record.saturating_sub(1)
    }

    /// The bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_of_segments() + self.remembered.bytes()
    }

    fn bytes_of_segments(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|(_, bytes)| bytes).sum();
        sealed + self.active.bytes
    }

    /// Returns whether the room that is left is for the parts of peers, so that Collectors are
    /// refused.
    pub(super) fn is_nearly_full(&self) -> bool {
        self.bytes() > self.limit() / 5 * 4
    }

    /// The most bytes of requests and decisions.
    fn limit(&self) -> u64 {
        self.settings.max_bytes.saturating_sub(self.reserved)
    }

    /// Lowers the limit by the size of other files on the volume.
    pub(super) fn set_reserved(&mut self, bytes: u64) {
        self.reserved = bytes;
    }

    /// Returns whether other files of this size have room, and leave enough for the spans that
    /// arrive.
    pub(super) fn has_room_beside(&self, bytes: u64) -> bool {
        self.bytes().saturating_add(bytes) <= self.settings.max_bytes / 5 * 3
    }

    /// Returns whether the parts for peers are to be moved, so that their segments can be deleted.
    fn should_move_parts(&self) -> bool {
        let max_bytes = self.settings.max_bytes;
        let max_bytes = max_bytes.saturating_sub(self.remembered.bytes());
        self.bytes_of_segments() > max_bytes / KEPT_FOR_PARTS_DIVISOR
    }

    /// Writes what is to be remembered, and removes what is no longer needed: the oldest segments
    /// that are released, and decisions that are too old. Returns the paths of the files to delete.
    /// If room is needed, parts in these segments move to the active one, those of one segment at a
    /// time.
    pub(super) fn clean_up(
        &mut self,
        segments: &impl Segments,
    ) -> (Vec<PathBuf>, Result<(), JournalError>) {
        let now = unix_ms();
        // Only a sealed segment can be deleted.
        let rolled = self.roll_if_full(now);
        let mut result = rolled.and(self.remembered.write(self.segment_bytes));
        let mut paths = Vec::new();
        while let Some((number, _)) = self.sealed.front().copied()
            && segments.is_released(number)
        {
            // Without space for its decisions, one segment is deleted before they are written.
            // Otherwise a full disk would stay full.
            let is_remembered = number <= self.remembered.last_segment();
            if !is_remembered && !paths.is_empty() {
                break;
            }
            let has_parts = segments.has_parts_in(number);
            if has_parts {
                // Peers receive most parts soon. Those for an unavailable peer may fill whole
                // segments, which would be written again at each tick.
                if !self.should_move_parts() {
                    break;
                }
                if let Err(error) = self.move_parts(number, segments, now) {
                    result = result.and(Err(error));
                    break;
                }
            }
            self.sealed.pop_front();
            paths.push(files::path(
                &self.settings.folder,
                FileKind::Segment,
                number,
            ));
            if has_parts {
                break;
            }
        }
        let max_bytes = self.settings.max_bytes / REMEMBERED_DIVISOR;
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

    /// The segment that records are appended to.
    pub(super) fn active_segment(&self) -> u64 {
        self.active.number
    }

    /// Begins another segment; returns its number.
    pub(super) fn begin_segment(&mut self) -> Result<u64, JournalError> {
        self.roll(unix_ms())?;
        Ok(self.active.number)
    }

    /// Begins another segment if the active one is full.
    fn roll_if_full(&mut self, time: u64) -> Result<(), JournalError> {
        if self.active.bytes < self.segment_bytes && !self.active.is_out_of_reasons() {
            return Ok(());
        }
        self.roll(time)
    }

    fn roll(&mut self, time: u64) -> Result<(), JournalError> {
        let folder = &self.settings.folder;
        let number = self.active.number + 1;
        // A copy, since a write may take long.
        let senders = self.senders.lock().clone();
        let first = First {
            record: self.next_record,
            confirmed: self.confirmed,
            senders: &senders,
        };
        let next = ActiveSegment::create(folder, number, time, first)?;
        let sealed = std::mem::replace(&mut self.active, next);
        self.sealed.push_back((sealed.number, sealed.bytes));
        self.remembered.add(sealed.number, time, sealed.remembered);
        Ok(())
    }
}
