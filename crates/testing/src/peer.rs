//! Third-party programs: where they are missing the test is skipped with a message, unless all
//! are required.

use std::io::{self, Write};

/// Returns whether a test can run: `required` names the programs it needs, `SPOOR_REQUIRE_ALL=1`
/// makes their absence a failure.
#[must_use]
pub fn have(test: &str, required: &[&str]) -> bool {
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

/// Reports that a test is skipped because something is `missing`. With `SPOOR_REQUIRE_ALL=1` it
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
