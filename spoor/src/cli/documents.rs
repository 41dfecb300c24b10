//! The files that a verb is given.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::lab::admin::{Document, Documents};

/// More than any file of policies needs.
const FILE_BYTES: u64 = 1024 * 1024;

/// Why a file can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadFilesError {
    /// The file or folder itself.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A folder with nothing in it.
    #[error("no .yaml, .yml or .json file in {}: folders in it are not read", .0.display())]
    NothingThere(PathBuf),
}

/// All of them: files, folders (theirs in the order of their names), `-` for standard input.
///
/// # Errors
/// [`ReadFilesError`] names the file.
pub fn read_all(filenames: &[PathBuf]) -> Result<Documents, ReadFilesError> {
    let mut documents = vec![];
    for filename in filenames {
        if filename.as_os_str() == "-" {
            documents.push(standard_input()?);
        } else if filename.is_dir() {
            for path in policy_files(filename)? {
                documents.push(read(&path)?);
            }
        } else {
            documents.push(read(filename)?);
        }
    }
    Ok(Documents { documents })
}

fn standard_input() -> Result<Document, ReadFilesError> {
    Ok(Document {
        source: "<stdin>".into(),
        text: text(io::stdin().lock())
            .map_err(|error| ReadFilesError::Read("standard input".into(), error))?,
    })
}

fn read(path: &Path) -> Result<Document, ReadFilesError> {
    let text = fs::File::open(path)
        .and_then(text)
        .map_err(|error| ReadFilesError::Read(path.to_owned(), error))?;
    Ok(Document {
        source: path.display().to_string(),
        text,
    })
}

fn text(file: impl Read) -> io::Result<String> {
    let mut bytes = vec![];
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text in UTF-8"))
}

fn policy_files(folder: &Path) -> Result<Vec<PathBuf>, ReadFilesError> {
    let failed = |error| ReadFilesError::Read(folder.to_owned(), error);
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ReadFilesError::NothingThere(folder.to_owned()));
    }
    paths.sort();
    Ok(paths)
}
