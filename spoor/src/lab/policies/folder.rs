//! The watched folder: its files as they are now, and a word whenever that may have changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, timeout_at},
};

use crate::lab::admin::Document;

/// Editors and `kubectl`-like tools write a file in several steps: it is read once they pause.
const QUIET: Duration = Duration::from_millis(60);
/// It is read by then even if they don't.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where the kernel reports nothing (a network file system, a folder that was replaced).
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// More than any policy file needs.
const FILE_BYTES: u64 = 1024 * 1024;
/// More than any folder of policies has.
const FILES: usize = 1000;

/// A folder whose files are policies.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// Why the folder can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder itself.
    #[error("can't read the folder of policies {}", .0.display())]
    List(PathBuf, #[source] io::Error),
    /// A file in it.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file that is no policy, by its size.
    #[error("{} is larger than {FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// More files than anybody writes.
    #[error("more than {FILES} files in {}", .0.display())]
    TooMany(PathBuf),
    /// The kernel gives no notice of changes.
    #[error("can't watch the folder of policies {}", .0.display())]
    Watch(PathBuf, #[source] notify::Error),
}

/// Ticks when the folder may have changed; ends the watch when dropped.
pub(super) struct Changes {
    _watcher: notify::RecommendedWatcher,
    seen: mpsc::Receiver<()>,
    regular: tokio::time::Interval,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Whether there is a folder to watch.
    pub(super) fn check(&self) -> Result<(), FolderError> {
        let listed = fs::read_dir(&self.0).map(drop);
        listed.map_err(|error| FolderError::List(self.0.clone(), error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// All its `.yaml`, `.yml` and `.json` files, by name; hidden ones are left out.
    pub(super) fn read(&self) -> Result<Vec<Document>, FolderError> {
        let failed = |error| FolderError::List(self.0.clone(), error);
        let mut paths = vec![];
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if is_policy_file(&path) {
                paths.push(path);
            }
        }
        if paths.len() > FILES {
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
        let (tick, seen) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading the files makes events too: those would have no end.
                if event.as_ref().is_ok_and(|event| event.kind.is_access()) {
                    return;
                }
                // A tick that waits already stands for this one as well.
                let _ = tick.try_send(());
            })
            .map_err(failed)?;
        watcher
            .watch(&self.0, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        let mut regular = tokio::time::interval(LOOK_AGAIN);
        regular.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Changes {
            _watcher: watcher,
            seen,
            regular,
        })
    }
}

impl Changes {
    /// Waits for a change, and until there was none for a moment.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.regular.tick() => return,
            seen = self.seen.recv() => if seen.is_none() { return },
        }
        let latest = Instant::now() + PATIENCE;
        while let Ok(Some(())) =
            timeout_at(latest.min(Instant::now() + QUIET), self.seen.recv()).await
        {}
    }
}

/// None for a file that went away meanwhile.
fn read_file(path: PathBuf) -> Result<Option<Document>, FolderError> {
    let read = fs::metadata(&path).and_then(|metadata| {
        let fits = metadata.len() <= FILE_BYTES;
        if fits {
            fs::read_to_string(&path).map(Some)
        } else {
            Ok(None)
        }
    });
    match read {
        Ok(Some(text)) => Ok(Some(Document {
            source: path.display().to_string(),
            text,
        })),
        Ok(None) => Err(FolderError::TooLarge(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::Read(path, error)),
    }
}

fn is_policy_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
}
