//! The files in a journal's folder.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice, Write},
    path::{Path, PathBuf},
};

use super::{
    JournalError, JournalId,
    record::{self, Kind},
};

/// The kind of a numbered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Records in their order.
    Segment,
    /// Decisions of segments that may be deleted.
    Remembered,
}

impl FileKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Segment => "segment-",
            Self::Remembered => "decisions-",
        }
    }
}

/// The digits of a file's number, so that names sort like numbers.
const DIGITS: usize = 16;
const LOCK: &str = "lock";

/// The path of a numbered file.
pub(super) fn path(folder: &Path, kind: FileKind, number: u64) -> PathBuf {
    folder.join(format!("{}{number:0DIGITS$}", kind.prefix()))
}

/// The numbers of the files of one kind, in ascending order. Other files are ignored.
pub(super) fn list(folder: &Path, kind: FileKind) -> Result<Vec<u64>, JournalError> {
    let failed = |source| JournalError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(|name| number(kind, name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number of a file of this kind, by its name.
fn number(kind: FileKind, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(kind.prefix())?;
    // With this length, the number after the largest one does not overflow.
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| is_number)
}

/// Returns whether this is the name of a file that a journal needs to be opened elsewhere.
#[must_use]
pub fn is_journal_file(name: &str) -> bool {
    let kinds = [FileKind::Segment, FileKind::Remembered];
    name == JournalId::FILE || kinds.iter().any(|kind| number(*kind, name).is_some())
}

/// Creates the folder and locks it. The lock lasts as long as the file.
pub(super) fn lock(folder: &Path) -> Result<File, JournalError> {
    let failed = |path: &Path, source| JournalError::Open {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let path = folder.join(LOCK);
    // The kernel releases a lock however its holder ends, so no stale lock can be left behind.
    let file = File::create(&path).map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Lock {
            path: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(&path, source)),
    }
}

/// Creates an empty file to append to, instead of one that a failed attempt may have left.
pub(super) fn create(path: &Path) -> Result<File, JournalError> {
    let failed = |source| JournalError::Append {
        path: path.to_owned(),
        source,
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    options.open(path).map_err(failed)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, JournalError> {
    fs::read(path).map_err(|source| JournalError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Appends a record to a file with this number and length.
pub(super) fn append(
    file: &File,
    path: &Path,
    (number, len): (u64, u64),
    fields: (Kind, u8, u64),
    body: &[u8],
) -> Result<(), JournalError> {
    let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
    let header = record::header(number, len, fields, body).ok_or_else(too_large);
    header
        .and_then(|header| write_all(file, &header, body))
        .map_err(|source| JournalError::Append {
            path: path.to_owned(),
            source,
        })
}

/// Writes a record, usually in one system call, and without a copy of its body.
fn write_all(mut file: &File, header: &[u8], body: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < header.len() + body.len() {
        let parts = match header.get(written..) {
            Some(rest) => [IoSlice::new(rest), IoSlice::new(body)],
            None => {
                let rest = body.get(written - header.len()..).unwrap_or_default();
                [IoSlice::new(&[]), IoSlice::new(rest)]
            }
        };
        match file.write_vectored(&parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes the part of a record at the end of a segment: a torn end is valid only in the last
/// segment, which this one will no longer be.
pub(super) fn cut(path: &Path, len: u64) -> Result<(), JournalError> {
    let failed = |source| JournalError::Append {
        path: path.to_owned(),
        source,
    };
    // Without its first record a segment would be corrupt.
    if len == 0 {
        return fs::remove_file(path).map_err(failed);
    }
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.set_len(len).map_err(failed)
}

/// Deletes files that are no longer needed. One that cannot be deleted is found by the next process.
pub(in crate::forward) fn delete(paths: &[PathBuf]) {
    for path in paths {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "cannot delete a file of the journal");
        }
    }
}
