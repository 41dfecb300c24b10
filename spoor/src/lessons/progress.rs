//! The lessons passed so far, in a file in the user's state folder. `spoor check` and the console
//! of a lab write the same file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::lesson::Lesson;

const FILE: &str = "lessons.json";

/// The lessons passed so far.
#[derive(Debug)]
pub struct Progress {
    /// The folder of the file; none without a home directory.
    folder: Option<PathBuf>,
    saved: Saved,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// The numbers of the lessons, with the time when each was passed first.
    passed: BTreeMap<usize, Timestamp>,
}

/// The error of saving the progress.
#[derive(Debug, thiserror::Error)]
pub enum SaveProgressError {
    /// There is no home directory.
    #[error("no folder for the progress; set XDG_STATE_HOME or HOME")]
    FindFolder,
    /// The file cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

impl Progress {
    /// Reads the user's progress. A file that is missing or cannot be read counts as none, since
    /// it is not worth failing a check for.
    pub fn load_default() -> Self {
        match spoor_lab::state_folder() {
            Some(folder) => Self::load(&folder),
            None => Self {
                folder: None,
                saved: Saved::default(),
            },
        }
    }

    fn load(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let content = fs::read(&path).unwrap_or_default();
        let saved = serde_json::from_slice(&content).unwrap_or_else(|error| {
            tracing::debug!(path = %path.display(), %error, "no progress read");
            Saved::default()
        });
        Self {
            folder: Some(folder.to_owned()),
            saved,
        }
    }

    /// The numbers of the lessons that were passed.
    pub fn passed(&self) -> BTreeSet<usize> {
        let all = Lesson::ALL.iter();
        let numbers = all.map(|lesson| usize::from(lesson.facts().number));
        let is_passed = |number: &usize| self.saved.passed.contains_key(number);
        numbers.filter(is_passed).collect()
    }

    /// Records that a lesson was passed, and saves it.
    ///
    /// # Errors
    /// [`SaveProgressError`].
    pub fn record(&mut self, number: usize, at: Timestamp) -> Result<(), SaveProgressError> {
        if self.saved.passed.contains_key(&number) {
            return Ok(());
        }
        self.saved.passed.insert(number, at);
        let folder = self.folder.as_ref();
        let folder = folder.ok_or(SaveProgressError::FindFolder)?;
        let path = folder.join(FILE);
        replace(folder, &path, &self.saved).map_err(|error| SaveProgressError::Write(path, error))
    }

    /// The number of lessons passed, such as `3 of 10 passed`.
    pub fn summary(&self) -> String {
        format!("{} of {} passed", self.passed().len(), Lesson::ALL.len())
    }
}

/// Replaces the file as a whole, so that another process reads the old or the new one.
fn replace(folder: &Path, path: &Path, saved: &Saved) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let file = NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&file, saved)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn passed_lessons_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/spoor");
        assert_eq!(Progress::load(&folder).summary(), "0 of 10 passed");
        for number in [3, 1, 3] {
            let mut progress = Progress::load(&folder);
            progress.record(number, Timestamp::UNIX_EPOCH).unwrap();
        }
        let progress = Progress::load(&folder);
        assert_eq!(progress.passed(), BTreeSet::from([1, 3]));
        assert_eq!(progress.summary(), "2 of 10 passed");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn unreadable_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let mut progress = Progress::load(folder.path());
        assert!(progress.passed().is_empty());
        progress.record(2, Timestamp::UNIX_EPOCH).unwrap();
        assert!(Progress::load(folder.path()).passed().contains(&2));
    }

    #[test]
    fn lessons_that_no_longer_exist_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::load(folder.path());
        progress.record(99, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(progress.summary(), "0 of 10 passed");
    }

    #[test]
    fn missing_home_is_reported() {
        let mut progress = Progress {
            folder: None,
            saved: Saved::default(),
        };
        let error = progress.record(1, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().contains("XDG_STATE_HOME"), "{error}");
    }
}
