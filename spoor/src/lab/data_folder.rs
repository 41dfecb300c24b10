//! Where the lab keeps what outlives it.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A folder that exists, can be written, and is this lab's alone.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
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
}

impl DataFolder {
    /// Makes sure that the folder exists and can be written; without a name it is the user's
    /// state folder (XDG Base Directory Specification).
    ///
    /// # Errors
    /// [`DataFolderError`] names the folder and the setting.
    pub fn open(named: Option<&Path>) -> Result<Self, DataFolderError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => state_folder().ok_or(DataFolderError::NoHome)?,
        };
        fs::create_dir_all(&path).map_err(|source| DataFolderError::Create {
            path: path.clone(),
            source,
        })?;
        let lock = File::create(path.join("lock")).map_err(|source| DataFolderError::Write {
            path: path.clone(),
            source,
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataFolderError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(DataFolderError::Write { path, source }),
        }
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
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
