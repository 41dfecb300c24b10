//! Decisions that outlive the segments that contain them.
//!
//! A segment is deleted as soon as its traces are decided and sent, but late spans follow a decision
//! for ten minutes. So the decisions of each segment are written a second time, in 20 bytes each, to
//! files that are deleted by age.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    JournalError,
    files::{self, FileKind},
    reason,
    record::{Fields, HEADER_BYTES, Kind, write_bytes},
};
use crate::{KeepReason, TraceId, tail::DECISION_RETENTION};

/// The decision on a trace, with the number of its reason among those of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) u16);

impl Code {
    pub(super) const DROPPED: Self = Self(0);
    /// Passed straight on, which is a decision too.
    pub(super) const PASSED: Self = Self(u16::MAX);
    /// The most reasons of a segment.
    pub(super) const MAX_REASONS: usize = u16::MAX as usize - 1;

    pub(super) fn kept(reason: usize) -> Self {
        Self(reason.min(Self::MAX_REASONS - 1) as u16 + 1)
    }

    /// The number of the reason to keep the trace.
    pub(super) fn reason(self) -> Option<usize> {
        match self {
            Self::DROPPED | Self::PASSED => None,
            Self(number) => Some(usize::from(number) - 1),
        }
    }
}

/// The decisions of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    /// The encoded reasons, each after its length.
    pub(super) reasons: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: TraceId,
    pub(super) code: Code,
    /// In milliseconds since 1970.
    pub(super) time: u64,
}

/// The precision of an entry's time, in milliseconds: two bytes are enough for the retention.
const AGE_UNIT: u64 = 100;

impl Remembered {
    fn encode(&self, segment: u64, time: u64) -> Vec<u8> {
        let mut body = segment.to_le_bytes().to_vec();
        write_bytes(&mut body, &self.reasons);
        for entry in &self.entries {
            let age = time.saturating_sub(entry.time) / AGE_UNIT;
            body.extend_from_slice(&entry.id.to_bytes());
            body.extend_from_slice(&entry.code.0.to_le_bytes());
            body.extend_from_slice(&u16::try_from(age).unwrap_or(u16::MAX).to_le_bytes());
        }
        body
    }
}

/// The decisions of a segment, as they were read from a file.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) segment: u64,
    pub(super) reasons: Vec<KeepReason>,
    pub(super) entries: Vec<Entry>,
}

impl Block {
    /// Decodes a block that was written at this time; `None` if it is invalid.
    pub(super) fn decode(body: &[u8], time: u64) -> Option<Self> {
        let mut fields = Fields(body);
        let segment = fields.u64()?;
        let mut encoded = Fields(fields.bytes()?);
        let mut reasons = Vec::new();
        while !encoded.is_empty() {
            reasons.push(reason::decode(encoded.bytes()?));
        }
        let mut entries = Vec::new();
        while !fields.is_empty() {
            entries.push(Entry {
                id: TraceId::from_bytes(fields.array()?),
                code: Code(fields.u16()?),
                time: time.saturating_sub(u64::from(fields.u16()?) * AGE_UNIT),
            });
        }
        Some(Self {
            segment,
            reasons,
            entries,
        })
    }
}

/// The files with remembered decisions, the oldest first.
pub(super) struct RememberedFiles {
    folder: PathBuf,
    files: VecDeque<RememberedFile>,
    /// The file to which decisions are appended, the last one.
    open: Option<File>,
    /// The decisions that could not be written yet.
    unwritten: VecDeque<(u64, u64, Remembered)>,
    /// The last segment whose decisions are in a file.
    last_segment: u64,
}

#[derive(Debug)]
pub(super) struct RememberedFile {
    /// The first segment whose decisions it has.
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// The time of its first block; zero in a file of an earlier process, to which nothing is
    /// appended.
    pub(super) first_time: u64,
    /// The time of its last block.
    pub(super) last_time: u64,
}

/// The age at which another file is begun, in milliseconds. Files are deleted whole.
const MAX_FILE_AGE: u64 = 60_000;

impl RememberedFiles {
    pub(super) fn new(folder: &Path, files: VecDeque<RememberedFile>, last_segment: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            files,
            // A file of an earlier process may end within a record.
            open: None,
            unwritten: VecDeque::new(),
            last_segment,
        }
    }

    /// The size of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The last segment whose decisions are in a file.
    pub(super) fn last_segment(&self) -> u64 {
        self.last_segment
    }

    /// Adds the decisions of a segment that was sealed at this time.
    pub(super) fn add(&mut self, segment: u64, time: u64, decisions: Remembered) {
        self.unwritten.push_back((segment, time, decisions));
    }

    /// Writes the decisions that were added, to files of about this size.
    pub(super) fn write(&mut self, file_bytes: u64) -> Result<(), JournalError> {
        while let Some((segment, time, decisions)) = self.unwritten.front() {
            let (segment, time) = (*segment, *time);
            let body = decisions.encode(segment, time);
            self.begin_file(segment, time, file_bytes)?;
            self.append(time, &body)?;
            self.last_segment = segment;
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// Begins another file if none is open, or the last one is old or large.
    fn begin_file(&mut self, segment: u64, time: u64, file_bytes: u64) -> Result<(), JournalError> {
        let is_full = |file: &RememberedFile| {
            file.bytes >= file_bytes || time.saturating_sub(file.first_time) >= MAX_FILE_AGE
        };
        if self.open.is_some() && !self.files.back().is_none_or(is_full) {
            return Ok(());
        }
        self.open = None;
        // A file that could not be written has the same number.
        if self.files.back().is_some_and(|file| file.number == segment) {
            self.files.pop_back();
        }
        let path = files::path(&self.folder, FileKind::Remembered, segment);
        self.open = Some(files::create(&path)?);
        self.files.push_back(RememberedFile {
            number: segment,
            bytes: 0,
            first_time: time,
            last_time: time,
        });
        Ok(())
    }

    fn append(&mut self, time: u64, body: &[u8]) -> Result<(), JournalError> {
        let (Some(file), Some(open)) = (self.files.back_mut(), &self.open) else {
            return Ok(());
        };
        let path = files::path(&self.folder, FileKind::Remembered, file.number);
        let fields = (Kind::Remembered, 0, time);
        let written = files::append(open, &path, (file.number, file.bytes), fields, body);
        if written.is_err() {
            // Its end is unknown, so the next attempt begins another file.
            self.open = None;
        } else {
            file.bytes += (HEADER_BYTES + body.len()) as u64;
            file.last_time = time;
        }
        written
    }

    /// Removes the oldest files from the list, those whose decisions are too old and those beyond
    /// this size, and returns their paths.
    pub(super) fn expire(&mut self, now: u64, max_bytes: u64) -> Vec<PathBuf> {
        let mut expired = Vec::new();
        let mut bytes = self.bytes();
        let max_age = DECISION_RETENTION.as_millis();
        while let Some(oldest) = self.files.front()
            && self.files.len() > 1
            && (u128::from(now.saturating_sub(oldest.last_time)) > max_age || bytes > max_bytes)
        {
            bytes -= oldest.bytes;
            let number = oldest.number;
            expired.push(files::path(&self.folder, FileKind::Remembered, number));
            self.files.pop_front();
        }
        expired
    }
}
