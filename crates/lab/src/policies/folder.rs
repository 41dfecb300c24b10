//! The watched folder: its current files, and notifications of changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use spoor_traces::tree::value::visible_line;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, timeout_at},
};

use crate::wire::Document;

/// The time without changes after which the folder is read. Editors write a file in several steps.
const SETTLE_DELAY: Duration = Duration::from_millis(60);
/// The time after which the folder is read even if changes continue.
const MAX_SETTLE_TIME: Duration = Duration::from_secs(1);
/// The interval at which the folder is read without a notification, since the kernel does not
/// report changes on network file systems or after the folder was replaced.
const RESYNC_INTERVAL: Duration = Duration::from_secs(3);
/// The largest policy file accepted, as for `spoor apply`.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The most policy files accepted in a folder.
const MAX_FILES: usize = 1000;

/// A folder whose files are policies.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// The error of reading or watching the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder cannot be listed.
    #[error("cannot read the policy folder {}", .0.display())]
    List(PathBuf, #[source] io::Error),
    /// A file in it cannot be read.
    #[error("cannot read {}", visible_path(.0))]
    Read(PathBuf, #[source] io::Error),
    /// A file is larger than accepted.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", visible_path(.0))]
    TooLarge(PathBuf),
    /// The folder has more files than accepted.
    #[error("more than {MAX_FILES} files in {}", .0.display())]
    TooMany(PathBuf),
    /// The kernel cannot report changes.
    #[error("cannot watch the policy folder {}", .0.display())]
    Watch(PathBuf, #[source] notify::Error),
}

/// Notifications that the folder may have changed. Dropping this ends the watch.
pub(super) struct Changes {
    _watcher: notify::RecommendedWatcher,
    seen: mpsc::Receiver<()>,
    resync: tokio::time::Interval,
    /// The latest end of the wait for a change to settle, if one was seen.
    settles_by: Option<Instant>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Checks that the folder exists and can be listed.
    pub(super) fn check(&self) -> Result<(), FolderError> {
        let listed = fs::read_dir(&self.0).map(drop);
        listed.map_err(|error| FolderError::List(self.0.clone(), error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads all `.yaml`, `.yml` and `.json` files in the order of their names, except hidden ones.
    pub(super) fn read(&self) -> Result<Vec<Document>, FolderError> {
        let failed = |error| FolderError::List(self.0.clone(), error);
        let mut paths = vec![];
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if is_policy_file(&path) {
                paths.push(path);
            }
        }
        if paths.len() > MAX_FILES {
            return Err(FolderError::TooMany(self.0.clone()));
        }
        paths.sort();
        paths
            .into_iter()
            .filter_map(|path| read_file(path).transpose())
            .collect()
    }

    /// Starts the watch.
    pub(super) fn watch(&self) -> Result<Changes, FolderError> {
        let failed = |error| FolderError::Watch(self.0.clone(), error);
        let (sender, seen) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading the files causes access events, which would trigger another reading.
                if event.as_ref().is_ok_and(|event| event.kind.is_access()) {
                    return;
                }
                // If the channel is full, a notification is pending already.
                let _ = sender.try_send(());
            })
            .map_err(failed)?;
        watcher
            .watch(&self.0, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        // The first tick is immediate, and covers changes since the folder was first read.
        let mut resync = tokio::time::interval(RESYNC_INTERVAL);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Changes {
            _watcher: watcher,
            seen,
            resync,
            settles_by: None,
        })
    }
}

impl Changes {
    /// Waits for a change, and then until changes have settled. Loses none when dropped: the next
    /// call continues the wait.
    pub(super) async fn next(&mut self) {
        if self.settles_by.is_none() {
            tokio::select! {
                _ = self.resync.tick() => return,
                Some(()) = self.seen.recv() => {}
            }
        }
        let now = Instant::now();
        let latest = *self.settles_by.get_or_insert(now + MAX_SETTLE_TIME);
        while let Ok(Some(())) =
            timeout_at(latest.min(Instant::now() + SETTLE_DELAY), self.seen.recv()).await
        {}
        self.settles_by = None;
    }
}

/// Reads a file. `None` if it was deleted meanwhile.
fn read_file(path: PathBuf) -> Result<Option<Document>, FolderError> {
    let read = fs::metadata(&path).and_then(|metadata| {
        // Before reading, so that a huge file never occupies the memory.
        let fits = metadata.len() <= MAX_FILE_BYTES;
        if fits {
            fs::read_to_string(&path).map(Some)
        } else {
            Ok(None)
        }
    });
    match read {
        Ok(Some(text)) => Ok(Some(Document {
            source: visible_path(&path),
            text,
        })),
        Ok(None) => Err(FolderError::TooLarge(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::Read(path, error)),
    }
}

/// A file's path in one line of visible characters.
fn visible_path(path: &Path) -> String {
    // The author of a file chooses its name, which the log and terminals show with each error in
    // the file. A line break or a bidirectional override would falsify their output.
    visible_line(&path.to_string_lossy()).into_owned()
}

fn is_policy_file(path: &Path) -> bool {
    // Editors keep their swap files beside the file, hidden.
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn file_names_stay_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let name = "a\nERROR forged \u{202e}.yaml";
        fs::write(folder.path().join(name), "spec: {}").unwrap();
        let read = Folder::new(folder.path().to_owned()).read().unwrap();
        let source = &read.first().unwrap().source;
        assert!(
            source.ends_with("a␊ERROR forged \\u{202e}.yaml"),
            "{source}"
        );
    }
}
