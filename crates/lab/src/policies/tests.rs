//! The texts of log messages.

#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn log_names_the_first_policies_and_counts_the_rest() {
    let change = |name: &str| {
        let namespace = Namespace::default();
        let name = name.parse().unwrap();
        (PolicyKey { namespace, name }, Action::Created)
    };
    let changes = ["a", "b", "c", "d", "e", "f", "g"].map(change);
    let changes: Vec<_> = changes.iter().collect();
    assert_eq!(described(&changes[..1]), "a created");
    assert_eq!(
        described(&changes),
        "a created, b created, c created, d created, e created and 2 more"
    );
}
