//! The check that a trace is complete.

use std::collections::BTreeSet;

use anyhow::ensure;
use spoor_traces::tree::{Position, Tree};

use crate::{cli::pluralize, traces::printable};

/// Summarizes a trace that has a root, every parent that a span names, and the expected services.
///
/// # Errors
/// The message names the missing part.
pub(super) fn summarize(tree: &Tree, expected: &[String]) -> anyhow::Result<String> {
    let services = tree.services().into_iter();
    let services: BTreeSet<&str> = services.map(|(name, _)| name).collect();
    let missing = expected.iter().map(String::as_str);
    let missing: Vec<&str> = missing.filter(|it| !services.contains(it)).collect();
    ensure!(
        missing.is_empty(),
        "it has no span of {}",
        missing.join(", ")
    );
    let rows = tree.rows();
    let at = |position: Position| rows.iter().filter(|row| row.position == position).count();
    // After the services, since their message is more specific.
    ensure!(at(Position::Root) > 0, "it has no root span yet");
    let orphans = at(Position::MissingParent);
    let named_by = pluralize(orphans, "span names", "spans name");
    ensure!(orphans == 0, "{named_by} a parent that is missing");
    let services: Vec<String> = services.into_iter().map(printable).collect();
    let spans = pluralize(rows.len(), "span", "spans");
    Ok(format!("complete, {spans} of {}", services.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::traces::spans::span;

    /// A trace of spans, each given by its service, its ID and its parent's ID (0: none).
    fn trace(spans: &[(&str, u8, u8)]) -> Tree {
        let batch = |&(service, id, parent)| span(service, "", id, parent, 0, 0);
        Tree::new(spans.iter().map(batch).collect())
    }

    fn both() -> Vec<String> {
        vec!["service-a".into(), "service-b".into()]
    }

    #[test]
    fn trace_with_all_parents_is_complete() {
        let spans = trace(&[
            ("service-a", 1, 0),
            ("service-a", 2, 1),
            ("service-b", 3, 2),
        ]);
        let summary = summarize(&spans, &both()).unwrap();
        assert_eq!(summary, "complete, 3 spans of service-a, service-b");
    }

    #[rstest::rstest]
    #[case::no_span(&[], "it has no span of service-a, service-b")]
    #[case::one_service(&[("service-a", 1, 0)], "it has no span of service-b")]
    #[case::no_root(&[("service-a", 2, 1), ("service-b", 3, 2)], "it has no root span yet")]
    #[case::a_gap(&[("service-a", 1, 0), ("service-b", 3, 2)], "1 span names a parent that is missing")]
    fn missing_part_is_named(#[case] spans: &[(&str, u8, u8)], #[case] missing: &str) {
        let error = summarize(&trace(spans), &both()).unwrap_err();
        assert_eq!(error.to_string(), missing);
    }
}
