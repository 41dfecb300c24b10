//! Where the lab keeps what outlives it.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::io::FdFlags;
use tokio::time::Instant;

use crate::cli::out::say_error;

/// Longer than a service lives once its lab is gone.
const MAX_WAIT_FOR_SERVICES: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A folder that exists, can be written, and is this lab's alone.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
    /// The services inherit it, so that it stays locked until the last of them has ended, even
    /// when the lab is killed. Until then they keep their ports and their database.
    _services_lock: File,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// None was named, and there is no home to put it in.
    #[error("no folder for the lab's data: set --data, XDG_STATE_HOME or HOME")]
    NoHome,
    /// It can't be created.
    #[error("can't create the data folder {} (choose another with --data)", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be written.
    #[error("can't write to the data folder {} (choose another with --data)", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another lab has it.
    #[error("another lab uses the data folder {}: stop it, or choose another with --data", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// Services of a lab that was killed do not end.
    #[error(
        "services of a lab that was killed still use the data folder {}: \
         end them, or choose another with --data", path.display()
    )]
    ServicesLeft {
        /// Which.
        path: PathBuf,
    },
}

impl DataFolder {
    /// Makes sure that the folder exists and can be written; without a name it is the user's
    /// state folder (XDG Base Directory Specification). Waits for the services of a lab that was
    /// killed to end.
    ///
    /// # Errors
    /// [`DataFolderError`] names the folder and the setting.
    pub async fn open(named: Option<&Path>) -> Result<Self, DataFolderError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => state_folder().ok_or(DataFolderError::NoHome)?,
        };
        fs::create_dir_all(&path).map_err(|source| DataFolderError::Create {
            path: path.clone(),
            source,
        })?;
        let failed = |source| DataFolderError::Write {
            path: path.clone(),
            source,
        };
        let lock = File::create(path.join("lock")).map_err(failed)?;
        if !try_lock(&lock).map_err(failed)? {
            return Err(DataFolderError::InUse { path });
        }
        let services_lock = File::create(path.join("services.lock")).map_err(failed)?;
        if !lock_in_time(&services_lock).await.map_err(failed)? {
            return Err(DataFolderError::ServicesLeft { path });
        }
        rustix::io::fcntl_setfd(&services_lock, FdFlags::empty())
            .map_err(|source| failed(source.into()))?;
        Ok(Self {
            path,
            _lock: lock,
            _services_lock: services_lock,
        })
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Takes the lock, unless another process has it.
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

async fn lock_in_time(file: &File) -> io::Result<bool> {
    if try_lock(file)? {
        return Ok(true);
    }
    // Not a log line: whoever starts the lab waits for it, whatever the log level.
    say_error!("Waiting until the services of a lab that was killed have ended.");
    let deadline = Instant::now() + MAX_WAIT_FOR_SERVICES;
    while Instant::now() < deadline {
        tokio::time::sleep(POLL_INTERVAL).await;
        if try_lock(file)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn state_folder() -> Option<PathBuf> {
    let named = |name| {
        env::var_os(name)
            .map(PathBuf::from)
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

    /// Another test that starts a process holds this one's files until that process is executed,
    /// as if a lab used the folder.
    async fn open(path: PathBuf) -> DataFolder {
        loop {
            match DataFolder::open(Some(&path)).await {
                Err(DataFolderError::InUse { .. }) => tokio::time::sleep(POLL_INTERVAL).await,
                opened => return opened.unwrap(),
            }
        }
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
