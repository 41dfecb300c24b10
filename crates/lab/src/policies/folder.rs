//! The watched folder: its current files, and notifications of changes.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use notify::{RecursiveMode, Watcher};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use spoor_api::changes::Document;
use spoor_runtime::with_causes;
use spoor_traces::tree::value::visible_line;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, timeout_at},
};

use crate::wire;

/// The time without changes after which the folder is read. Editors write a file in several steps.
const SETTLE_DELAY: Duration = Duration::from_millis(60);
/// The time after which the folder is read even if changes continue.
const MAX_SETTLE_TIME: Duration = Duration::from_secs(1);
/// The interval at which the folder is read without a notification, since the kernel does not
/// report changes on network file systems or after the folder was replaced.
const RESYNC_INTERVAL: Duration = Duration::from_secs(3);
/// The most policy files accepted in a folder.
const MAX_FILES: usize = 1000;
/// The most bytes of all policy files together. All are in memory at once.
const MAX_TOTAL_BYTES: usize = 8 * 1024 * 1024;
/// The longest time that reading the folder may take.
const MAX_READ_TIME: Duration = Duration::from_secs(5);

/// The files of a folder, and the errors of those that cannot be read.
pub(super) type FolderFiles = (Vec<Document>, Vec<String>);

/// A folder whose files are policies.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    reader: Reader,
}

/// Runs reads that may block forever, such as those on a file server that is unavailable. Holds the
/// thread of a read that took too long.
#[derive(Debug, Default)]
struct Reader(Mutex<Option<JoinHandle<()>>>);

/// The error of reading or watching the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder cannot be listed.
    #[error("cannot read the policy folder {}", .0.display())]
    List(PathBuf, #[source] io::Error),
    /// A file in it cannot be read.
    #[error("cannot read {}", visible_path(.0))]
    Read(PathBuf, #[source] io::Error),
    /// The folder has more policy files than accepted.
    #[error("more than {MAX_FILES} policy files in {}; delete some", .0.display())]
    TooMany(PathBuf),
    /// The folder's files have more bytes than accepted.
    #[error("the policy files in {} have more than {MAX_TOTAL_BYTES} bytes in total; delete some", .0.display())]
    TooLargeInTotal(PathBuf),
    /// The kernel cannot report changes.
    #[error("cannot watch the policy folder {}", .0.display())]
    Watch(PathBuf, #[source] notify::Error),
}

/// Notifications that the folder may have changed. Dropping this ends the watch.
pub(super) struct Changes {
    _watcher: notify::RecommendedWatcher,
    seen: mpsc::Receiver<()>,
    resync: tokio::time::Interval,
    /// The deadline by which changes count as settled, if a change was seen.
    settle_deadline: Option<Instant>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        let reader = Reader::default();
        Self { path, reader }
    }

    /// Checks that the folder exists and can be listed.
    pub(super) fn check(&self) -> Result<(), FolderError> {
        let listed = fs::read_dir(&self.path).map(drop);
        listed.map_err(|error| FolderError::List(self.path.clone(), error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all `.yaml`, `.yml` and `.json` files in the order of their names, except hidden ones.
    /// Takes at most [`MAX_READ_TIME`].
    pub(super) fn read(&self) -> Result<FolderFiles, FolderError> {
        let path = self.path.clone();
        let read = self.reader.run(MAX_READ_TIME, move || read_files(&path));
        read.map_err(|error| FolderError::List(self.path.clone(), error))?
    }

    /// Starts the watch.
    pub(super) fn watch(&self) -> Result<Changes, FolderError> {
        let failed = |error| FolderError::Watch(self.path.clone(), error);
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
            .watch(&self.path, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        // The first tick is immediate, and covers changes since the folder was first read.
        let mut resync = tokio::time::interval(RESYNC_INTERVAL);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Changes {
            _watcher: watcher,
            seen,
            resync,
            settle_deadline: None,
        })
    }
}

impl Changes {
    /// Waits for a change, and then until changes have settled; or, without a change, until the next
    /// periodic read. This method is cancel safe: the next call continues the wait.
    pub(super) async fn next(&mut self) {
        if self.settle_deadline.is_none() {
            tokio::select! {
                _ = self.resync.tick() => return,
                Some(()) = self.seen.recv() => {}
            }
        }
        let now = Instant::now();
        let latest = *self.settle_deadline.get_or_insert(now + MAX_SETTLE_TIME);
        while let Ok(Some(())) =
            timeout_at(latest.min(Instant::now() + SETTLE_DELAY), self.seen.recv()).await
        {}
        self.settle_deadline = None;
    }
}

impl Reader {
    /// Runs a read on a thread of its own. If it takes longer than the limit, the thread is
    /// abandoned, and no other read starts before that one has ended.
    fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let mut abandoned = self.0.lock();
        if abandoned.as_ref().is_none_or(JoinHandle::is_finished) {
            let (sender, receiver) = std::sync::mpsc::channel();
            let thread = thread::Builder::new().spawn(move || {
                let _ = sender.send(read());
            })?;
            if let Ok(read) = receiver.recv_timeout(limit) {
                return Ok(read);
            }
            *abandoned = Some(thread);
        }
        let problem = format!(
            "no result within {} s; the folder is read again once this read has ended; if it never \
             ends, restart the lab",
            limit.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, problem))
    }
}

/// Reads the files of a folder.
fn read_files(folder: &Path) -> Result<FolderFiles, FolderError> {
    let failed = |error| FolderError::List(folder.to_owned(), error);
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_policy_file(&path) {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(FolderError::TooMany(folder.to_owned()));
        }
    }
    paths.sort();
    let (mut documents, mut errors, mut bytes) = (vec![], vec![], 0);
    for path in paths {
        match read_text(&path) {
            Ok(text) => {
                bytes += text.len();
                let source = visible_path(&path);
                documents.push(Document { source, text });
            }
            // It has been deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => errors.push(with_causes(&FolderError::Read(path, error))),
        }
        if bytes > MAX_TOTAL_BYTES {
            return Err(FolderError::TooLargeInTotal(folder.to_owned()));
        }
    }
    Ok((documents, errors))
}

fn read_text(path: &Path) -> io::Result<String> {
    // A symbolic link may lead to a kernel interface such as `/proc/kmsg`, and a read from it would
    // block until there is data.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    wire::read_file(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// A file's path on one line, in visible characters.
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
    fn file_names_stay_on_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let name = "a\nERROR forged \u{202e}.yaml";
        fs::write(folder.path().join(name), "spec: {}").unwrap();
        let (read, _) = Folder::new(folder.path().to_owned()).read().unwrap();
        let source = &read.first().unwrap().source;
        assert!(
            source.ends_with("a␊ERROR forged \\u{202e}.yaml"),
            "{source}"
        );
    }

    #[test]
    fn total_size_of_files_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = |number: usize| {
            let file = File::create(folder.path().join(format!("{number}.yaml"))).unwrap();
            file.set_len(wire::MAX_FILE_BYTES).unwrap();
        };
        (0..8).for_each(file);
        let watched = Folder::new(folder.path().to_owned());
        assert_eq!(watched.read().unwrap().0.len(), 8);
        fs::write(folder.path().join("9.yaml"), "#").unwrap();
        let error = watched.read().unwrap_err().to_string();
        let expected = "have more than 8388608 bytes in total; delete some";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn too_large_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("large.yaml")).unwrap();
        file.set_len(1 << 30).unwrap();
        let (_, errors) = Folder::new(folder.path().to_owned()).read().unwrap();
        let expected = "large.yaml: the file is larger than 1 MiB; split it";
        assert!(errors[0].ends_with(expected), "{errors:?}");
    }

    #[test]
    fn blocked_read_is_abandoned() {
        let reader = Reader::default();
        let limit = Duration::from_millis(10);
        let (unblock, blocked) = std::sync::mpsc::channel::<()>();
        let error = reader.run(limit, move || blocked.recv().is_ok());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // No other thread starts while that one is blocked.
        let limit = Duration::from_secs(10);
        let error = reader.run(limit, || true);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(unblock);
        let began = std::time::Instant::now();
        while reader.run(limit, || true).is_err() {
            assert!(began.elapsed() < limit, "the thread has ended");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
