//! Programs that are not ours: where they are missing the test says so and passes, unless all
//! are required.

/// Whether a test can go on: `required` says which programs it takes, `SPOOR_REQUIRE_ALL=1`
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
    let message = format!("SKIPPED {test}: {} not installed", missing.join(", "));
    assert_ne!(
        std::env::var("SPOOR_REQUIRE_ALL").as_deref(),
        Ok("1"),
        "{message}"
    );
    eprintln!("\n{message}\n");
    false
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
