//! Third-party programs. Where one is missing, the test prints that and passes, unless all are
//! required.

use std::path::{Path, PathBuf};

use crate::lab::{command_of, run, succeeded};

pub use spoor_testing::programs::has_programs;

/// A folder with copies of these files, in which the dependencies of a program are installed once.
pub fn install_folder(name: &str, files: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/interop")
        .join(name);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for file in files {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    folder
}

/// Runs a program to its end in a folder, and returns its output.
pub async fn run_in(folder: &Path, program: &str, arguments: &[&str]) -> String {
    succeeded(run(command_of(program).args(arguments).current_dir(folder), "").await)
}
