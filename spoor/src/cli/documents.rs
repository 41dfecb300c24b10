//! Reads the files given to a subcommand.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use spoor_api::changes::Document;
use spoor_api::read::policies;
use spoor_lab::wire::{Documents, read_file};

use crate::traces::printable;

/// The error of reading policy files.
#[derive(Debug, thiserror::Error)]
pub enum ReadFilesError {
    /// The file or folder cannot be read.
    #[error("cannot read {}", printable(&.0.to_string_lossy()))]
    Read(PathBuf, #[source] io::Error),
    /// The folder has no policy files.
    #[error("no .yaml, .yml or .json file in {} (subfolders are not read)", .0.display())]
    NoFiles(PathBuf),
    /// The files are empty or have only comments, such as a Helm template whose condition is false.
    #[error("no policy in {0}")]
    NoPolicies(String),
}

/// Reads files, folders (their files in the order of their names), and `-` for standard input.
///
/// # Errors
/// [`ReadFilesError`] names the file or folder that cannot be read, the folder without policy
/// files, or all of them if the files are valid and none has a policy.
pub fn read_all(filenames: &[PathBuf]) -> Result<Documents, ReadFilesError> {
    let documents = read_documents(filenames)?;
    // An invalid document is refused later, with all its errors.
    let is_empty =
        |it: &Document| policies(&it.text, &it.source).is_ok_and(|found| found.is_empty());
    if documents.iter().all(is_empty) {
        return Err(no_policies(filenames));
    }
    Ok(Documents { documents })
}

/// Reads files as [`read_all`] does, whether or not any has a policy.
///
/// # Errors
/// [`ReadFilesError`] names the file or folder.
pub fn read_documents(filenames: &[PathBuf]) -> Result<Vec<Document>, ReadFilesError> {
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
    Ok(documents)
}

/// The error for files without policies.
pub fn no_policies(filenames: &[PathBuf]) -> ReadFilesError {
    let names = filenames.iter().map(|it| match it.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => printable(&it.to_string_lossy()),
    });
    ReadFilesError::NoPolicies(names.collect::<Vec<_>>().join(", "))
}

fn standard_input() -> Result<Document, ReadFilesError> {
    Ok(Document {
        source: "<stdin>".into(),
        text: read_file(io::stdin().lock())
            .map_err(|error| ReadFilesError::Read("standard input".into(), error))?,
    })
}

fn read(path: &Path) -> Result<Document, ReadFilesError> {
    let text = fs::File::open(path)
        .and_then(read_file)
        .map_err(|error| ReadFilesError::Read(path.to_owned(), error))?;
    Ok(Document {
        // Anyone may have chosen the names in a folder, and errors print them in a terminal.
        source: printable(&path.to_string_lossy()),
        text,
    })
}

fn policy_files(folder: &Path) -> Result<Vec<PathBuf>, ReadFilesError> {
    let failed = |error| ReadFilesError::Read(folder.to_owned(), error);
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        // `is_file` follows links: a mounted ConfigMap consists of links to its files.
        if path.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ReadFilesError::NoFiles(folder.to_owned()));
    }
    // The order of `read_dir` differs between file systems, and messages name files in this order.
    paths.sort();
    Ok(paths)
}
