//! The limits on all policies together.

/// The most policies. Each change resolves and saves all of them, and a list computes the status
/// of each.
const MAX_POLICIES: usize = 1_000;
/// The most services and operations named by all policies together.
const MAX_TARGETS: usize = 10_000;
/// The most bytes of all policies together, as JSON. Plans and statuses are derived from them, so they
/// take a multiple of this in memory. A thousand typical policies take half a megabyte.
const MAX_TOTAL_BYTES: usize = 2 * 1024 * 1024;

/// Checks the numbers of policies, of services and operations, and of bytes.
pub(super) fn check_sizes(
    policies: usize,
    targets: usize,
    bytes: usize,
) -> Result<(), Vec<String>> {
    let sizes: [(usize, usize, &str); 3] = [
        (policies, MAX_POLICIES, "policies"),
        (targets, MAX_TARGETS, "services and operations"),
        (bytes, MAX_TOTAL_BYTES, "bytes"),
    ];
    match sizes.iter().find(|(size, max, _)| size > max) {
        Some((size, max, what)) => Err(vec![format!(
            "{size} {what} in total, more than the limit of {max}; delete some policies"
        )]),
        None => Ok(()),
    }
}
