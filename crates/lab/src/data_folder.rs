//! The folder for data that survives a restart.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::io::FdFlags;
use tokio::time::Instant;

/// The time to wait for another lab: the kernel releases the lock of a killed one only once it has
/// freed the process's memory.
const MAX_WAIT_FOR_LAB: Duration = Duration::from_secs(5);
/// The time to wait for the services of a lab that was killed. They end within a few seconds.
const MAX_WAIT_FOR_SERVICES: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A writable folder that is locked for this lab.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
    /// A lock that the services inherit, so that it is held until the last of them has ended, even
    /// if the lab is killed. Until then they use their ports and database.
    _services_lock: File,
}

/// The error of opening the data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// No folder is set, and there is no home directory.
    #[error("no folder for the lab's data")]
    FindHome,
    /// The folder cannot be created.
    #[error("cannot create the data folder {}", .0.display())]
    Create(PathBuf, #[source] io::Error),
    /// The folder cannot be written to.
    #[error("cannot write to the data folder {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// Another lab holds the lock.
    #[error("another lab uses the data folder {}", .0.display())]
    Lock(PathBuf),
    /// Services of a lab that was killed are still running.
    #[error("services of a lab that was killed still use the data folder {}", .0.display())]
    AwaitServices(PathBuf),
}

impl DataFolder {
    /// Creates and locks the folder, by default in the user's state folder (XDG Base Directory
    /// Specification). If services of a lab that was killed still use it, waits for them to end.
    ///
    /// # Errors
    /// [`DataFolderError`]: the folder cannot be found, created, written to or locked.
    pub(crate) async fn open(named: Option<&Path>) -> Result<Self, DataFolderError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => state_folder().ok_or(DataFolderError::FindHome)?,
        };
        fs::create_dir_all(&path).map_err(|error| DataFolderError::Create(path.clone(), error))?;
        let failed = |error| DataFolderError::Write(path.clone(), error);
        // The kernel releases a lock however its holder ends, so that no stale lock can be left
        // behind.
        let lock = File::create(path.join("lock")).map_err(failed)?;
        let (holder, wait) = ("the lab that uses the data folder", MAX_WAIT_FOR_LAB);
        if !lock_in_time(&lock, holder, wait).await.map_err(failed)? {
            return Err(DataFolderError::Lock(path));
        }
        // After the lab's own lock: while another lab runs, its services hold theirs, and the
        // wait would time out.
        let services_lock = File::create(path.join("services.lock")).map_err(failed)?;
        let (holder, wait) = ("the services of a killed lab", MAX_WAIT_FOR_SERVICES);
        let locked = lock_in_time(&services_lock, holder, wait).await;
        if !locked.map_err(failed)? {
            return Err(DataFolderError::AwaitServices(path));
        }
        // Clears close-on-exec, which std sets on every file, so that the services inherit the
        // lock.
        rustix::io::fcntl_setfd(&services_lock, FdFlags::empty())
            .map_err(|source| failed(source.into()))?;
        Ok(Self {
            path,
            _lock: lock,
            _services_lock: services_lock,
        })
    }

    /// The path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Takes the lock. Returns false if another process holds it.
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

async fn lock_in_time(file: &File, holder: &str, max_wait: Duration) -> io::Result<bool> {
    if try_lock(file)? {
        return Ok(true);
    }
    // Not a log message: the user should see why the lab does not start, at any log level. If
    // standard error is closed, the lab still starts.
    let _ = writeln!(io::stderr(), "Waiting for {holder} to end.");
    // Polled, since a blocking lock cannot be given up at a deadline.
    let deadline = Instant::now() + max_wait;
    while Instant::now() < deadline {
        tokio::time::sleep(POLL_INTERVAL).await;
        if try_lock(file)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folder for data that Spoor keeps for the user: `spoor` in the state folder of the XDG Base
/// Directory Specification; none without a home directory.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    let named = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            // The XDG specification tells programs to ignore relative paths.
            .filter(|path| path.is_absolute())
    };
    named("XDG_STATE_HOME")
        .or_else(|| Some(named("HOME")?.join(".local/state")))
        .map(|state| state.join("spoor"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use super::*;

    /// Opens the folder, and tries again while it is locked: a process that another test starts holds
    /// this test's files between `fork` and `exec`, as if a lab used the folder.
    async fn open(path: PathBuf) -> DataFolder {
        loop {
            match DataFolder::open(Some(&path)).await {
                Err(DataFolderError::Lock(_)) => tokio::time::sleep(POLL_INTERVAL).await,
                opened => return opened.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn waits_for_the_lock_of_a_killed_lab() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let lock = File::create(path.join("lock")).unwrap();
        assert!(try_lock(&lock).unwrap());
        let opening = tokio::spawn(async move { DataFolder::open(Some(&path)).await });
        tokio::task::yield_now().await;
        assert!(!opening.is_finished());
        drop(lock);
        opening.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn waits_for_the_services_of_a_killed_lab() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let killed = open(path.clone()).await;
        let mut service = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        drop(killed);
        let lock = File::open(path.join("services.lock")).unwrap();
        assert!(!try_lock(&lock).unwrap(), "its service still runs");
        let opening = tokio::spawn(open(path));
        service.kill().unwrap();
        service.wait().unwrap();
        opening.await.unwrap();
    }
}
