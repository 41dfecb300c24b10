//! The ID of a journal.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
};

use super::{JournalError, unix_ms};

/// The ID of a journal, which its sequences belong to. IDs ascend with the time at which the journal
/// was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId([u8; 16]);

/// The bytes of the time, in milliseconds since 1970. The others are random.
const TIME_BYTES: usize = 6;

impl JournalId {
    /// The name of the file with the ID. A folder has a complete journal only if it has this file.
    pub const FILE: &str = "id";
    /// No journal has this ID, since the time in an ID is later than 1970.
    pub(super) const ZERO: Self = Self([0; 16]);

    /// Creates an ID from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    fn new() -> Self {
        let random = |salt: u64| u128::from(RandomState::new().hash_one(salt));
        let time = u128::from(unix_ms()) << (u128::BITS as usize - 8 * TIME_BYTES);
        let random = (random(0) << 64 | random(1)) >> (8 * TIME_BYTES);
        Self((time | random).to_be_bytes())
    }

    /// Reads the ID in a folder, which gets one if it has none.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(Self::FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                // Other bytes are not what this program wrote: after the crash of a node, a file may
                // be empty or have zeros. Two journals with one ID would hide each other's parts,
                // while peers accept the sequences of a new ID.
                if let Ok(bytes) = <[u8; 16]>::try_from(bytes)
                    && bytes != Self::ZERO.0
                {
                    return Ok(Self(bytes));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(JournalError::Read { path, source }),
        }
        let id = Self::new();
        id.save(path)?;
        Ok(id)
    }

    fn save(self, path: PathBuf) -> Result<(), JournalError> {
        // Renamed, so that a process that is killed here leaves no part of an ID.
        let new = path.with_extension("new");
        let written = fs::write(&new, self.0).and_then(|()| fs::rename(&new, &path));
        written.map_err(|source| JournalError::Append { path, source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_folder_keeps_its_id() {
        let folder = TempDir::new().unwrap();
        let id = JournalId::in_folder(folder.path()).unwrap();
        assert_eq!(JournalId::in_folder(folder.path()).unwrap(), id);
        assert_ne!(
            JournalId::in_folder(TempDir::new().unwrap().path()).unwrap(),
            id
        );
        for damaged in [&b"short"[..], &[0; 16]] {
            fs::write(folder.path().join(JournalId::FILE), damaged).unwrap();
            let new = JournalId::in_folder(folder.path()).unwrap();
            assert!(![id, JournalId::ZERO].contains(&new), "{new:?}");
        }
    }

    #[test]
    fn ids_ascend_with_time() {
        let before = unix_ms();
        let id = JournalId::new().to_bytes();
        let mut time = [0; 8];
        time[2..].copy_from_slice(&id[..TIME_BYTES]);
        let time = u64::from_be_bytes(time);
        assert!((before..=unix_ms()).contains(&time), "{time}");
        assert_ne!(id[TIME_BYTES..], [0; 10]);
    }
}
