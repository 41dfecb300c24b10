//! Programs that are not ours: where they are missing the test says so and passes, unless all
//! are required.

use std::path::{Path, PathBuf};

use crate::lab::{command_of, run, succeeded};

/// Whether a test can go on: `required` says what it takes, `SPOOR_REQUIRE_ALL=1` makes its
/// absence a failure.
pub fn have(test: &str, required: &[&str]) -> bool {
    let missing: Vec<&str> = required
        .iter()
        .copied()
        .filter(|name| !is_installed(name))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let message = format!("SKIPPED {test}: {} not installed", missing.join(", "));
    assert_ne!(
        std::env::var("SPOOR_REQUIRE_ALL").as_deref(),
        Ok("1"),
        "{message}"
    );
    eprintln!("\n{message}\n");
    false
}

/// A folder where what a peer needs is installed once, with these files of ours in it.
pub fn workshop(name: &str, files: &[&str]) -> PathBuf {
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

/// Runs a program to its end in a folder; what it printed.
pub async fn runs(folder: &Path, program: &str, arguments: &[&str]) -> String {
    succeeded(run(command_of(program).args(arguments).current_dir(folder), "").await)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
