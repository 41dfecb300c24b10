//! Third-party programs. Tests are skipped with a message where these are missing, unless
//! `SPOOR_REQUIRE_ALL` is `1`.

use std::io::{self, Write};

/// Returns whether all programs that a test requires are installed. Reports the test as skipped if
/// not; with `SPOOR_REQUIRE_ALL=1`, the test fails instead.
#[must_use]
pub fn has_programs(test: &str, required: &[&str]) -> bool {
    let missing: Vec<&str> = required
        .iter()
        .copied()
        .filter(|name| !is_installed(name))
        .collect();
    if missing.is_empty() {
        return true;
    }
    skip(test, &format!("{} not installed", missing.join(", ")));
    false
}

/// Reports a test as skipped, because something is `missing`. With `SPOOR_REQUIRE_ALL=1`, the test
/// fails instead.
pub fn skip(test: &str, missing: &str) {
    let message = format!("SKIPPED {test}: {missing}");
    assert_ne!(
        std::env::var("SPOOR_REQUIRE_ALL").as_deref(),
        Ok("1"),
        "{message}"
    );
    // Not `println!`, whose output the test harness hides for tests that pass.
    let _ = writeln!(io::stderr(), "\n{message}\n");
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
