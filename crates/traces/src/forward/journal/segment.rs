//! The segment that records are appended to.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    JournalError,
    files::{self, FileKind},
    reason,
    record::{HEADER_BYTES, Kind, write_bytes},
    remembered::{Code, Remembered},
    senders::Senders,
};
use crate::{KeepReason, forward::position::Position};

/// The segment that records are appended to.
pub(super) struct ActiveSegment {
    pub(super) number: u64,
    path: PathBuf,
    file: File,
    /// The bytes of complete records.
    pub(super) bytes: u64,
    /// A failed write may have left a part of a record after them.
    is_torn: bool,
    /// The reasons declared in this segment, by their number in the process.
    reasons: HashMap<u32, usize>,
    /// The decisions in this segment.
    pub(super) remembered: Remembered,
}

/// The state at the beginning of a segment, which its first records contain.
#[derive(Clone, Copy)]
pub(super) struct First<'a> {
    /// The number of its first numbered record.
    pub(super) record: u64,
    /// The place before which all spans were sent.
    pub(super) confirmed: Position,
    pub(super) senders: &'a Senders,
}

impl First<'_> {
    fn body(&self) -> [u8; 24] {
        let mut body = [0; 24];
        body[..8].copy_from_slice(&self.record.to_le_bytes());
        body[8..].copy_from_slice(&position_body(self.confirmed));
        body
    }
}

/// The body of a record of the kind [`Kind::Confirmed`].
pub(super) fn position_body(position: Position) -> [u8; 16] {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&position.record.to_le_bytes());
    body[8..].copy_from_slice(&position.spans.to_le_bytes());
    body
}

impl ActiveSegment {
    /// Creates a segment with its first records.
    pub(super) fn create(
        folder: &Path,
        number: u64,
        time: u64,
        first: First<'_>,
    ) -> Result<Self, JournalError> {
        let path = files::path(folder, FileKind::Segment, number);
        let file = files::create(&path)?;
        Self::begin(number, path, file, time, first)
    }

    /// Writes the first records to an empty file, or deletes it.
    fn begin(
        number: u64,
        path: PathBuf,
        file: File,
        time: u64,
        first: First<'_>,
    ) -> Result<Self, JournalError> {
        let mut segment = Self {
            number,
            path,
            file,
            bytes: 0,
            is_torn: false,
            reasons: HashMap::new(),
            remembered: Remembered::default(),
        };
        if let Err(error) = segment.append_first(time, first) {
            // The segment before it stays the active one. The next process has to find that as the
            // last one, whose end may be torn, and not an older state after it.
            files::delete(&[segment.path]);
            return Err(error);
        }
        Ok(segment)
    }

    fn append_first(&mut self, time: u64, first: First<'_>) -> Result<(), JournalError> {
        self.append((Kind::Segment, 0, time), &first.body())?;
        match first.senders.is_empty() {
            true => Ok(()),
            false => self.append((Kind::Received, 0, time), &first.senders.encode()),
        }
    }

    /// Returns whether the segment has no room for further reasons.
    pub(super) fn is_out_of_reasons(&self) -> bool {
        self.reasons.len() >= Code::MAX_REASONS
    }

    /// Appends a record.
    pub(super) fn append(
        &mut self,
        fields: (Kind, u8, u64),
        body: &[u8],
    ) -> Result<(), JournalError> {
        self.repair()?;
        let place = (self.number, self.bytes);
        if let Err(error) = files::append(&self.file, &self.path, place, fields, body) {
            self.is_torn = true;
            // If that fails too, no record is appended until it succeeds.
            let _attempted_again_later = self.repair();
            return Err(error);
        }
        self.bytes += (HEADER_BYTES + body.len()) as u64;
        Ok(())
    }

    /// Removes the part of a record that a failed write left, so that the end of a segment is torn
    /// only if the process is killed.
    fn repair(&mut self) -> Result<(), JournalError> {
        if self.is_torn {
            let cut = self.file.set_len(self.bytes);
            cut.map_err(|source| JournalError::Append {
                path: self.path.clone(),
                source,
            })?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// The number of a reason in this segment, which declares it if it is new.
    pub(super) fn reason(
        &mut self,
        number: u32,
        time: u64,
        reason: impl Fn(u32) -> Option<KeepReason>,
    ) -> Result<usize, JournalError> {
        if let Some(known) = self.reasons.get(&number) {
            return Ok(*known);
        }
        let Some(reason) = reason(number) else {
            return Ok(Code::MAX_REASONS);
        };
        let body = reason::encode(&reason);
        self.append((Kind::Reason, 0, time), &body)?;
        write_bytes(&mut self.remembered.reasons, &body);
        let declared = self.reasons.len();
        self.reasons.insert(number, declared);
        Ok(declared)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn segment_without_its_first_records_is_deleted() {
        let folder = TempDir::new().unwrap();
        let path = files::path(folder.path(), FileKind::Segment, 2);
        fs::write(&path, []).unwrap();
        // Writes to it fail, as on a full disk.
        let file = File::open(&path).unwrap();
        let senders = Senders::default();
        let first = First {
            record: 1,
            confirmed: Position::default(),
            senders: &senders,
        };
        let begun = ActiveSegment::begin(2, path.clone(), file, 0, first);
        assert!(matches!(begun, Err(JournalError::Append { .. })));
        assert!(!path.exists());
    }
}
