//! The check that a trace is complete.

use std::{collections::BTreeSet, fmt};

use spoor_traces::tree::{Position, Tree};

use crate::{cli::pluralize, traces::printable};

/// A trace with a root, every parent that a span names, and the expected services.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CompleteTrace {
    spans: usize,
    services: BTreeSet<String>,
}

/// The missing part of an incomplete trace.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Incomplete {
    /// The root span.
    #[error("it has no root span yet")]
    Root,
    /// Spans that others name as their parent.
    #[error("{} a parent that is missing", pluralize(*.0, "span names", "spans name"))]
    Parents(usize),
    /// Spans of expected services.
    #[error("it has no span of {0}")]
    Services(String),
}

impl CompleteTrace {
    /// Checks a trace.
    ///
    /// # Errors
    /// [`Incomplete`] names the missing part.
    pub(super) fn of(tree: &Tree, expected: &[String]) -> Result<Self, Incomplete> {
        let services = tree.services().into_iter();
        let services: BTreeSet<String> = services.map(|(name, _)| name.to_owned()).collect();
        let missing = expected.iter().filter(|it| !services.contains(*it));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(Incomplete::Services(missing.join(", ")));
        }
        let rows = tree.rows();
        let at = |position: Position| rows.iter().filter(|row| row.position == position).count();
        // After the services, since their message is more specific.
        if at(Position::Root) == 0 {
            return Err(Incomplete::Root);
        }
        match at(Position::MissingParent) {
            0 => Ok(Self {
                spans: rows.len(),
                services,
            }),
            orphans => Err(Incomplete::Parents(orphans)),
        }
    }
}

impl fmt::Display for CompleteTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<String> = self.services.iter().map(|name| printable(name)).collect();
        let spans = pluralize(self.spans, "span", "spans");
        write!(f, "complete, {spans} of {}", services.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::spans::span;

    /// Of service-a or service-b: an ID, and that of the parent (0: none).
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
        let summary = CompleteTrace::of(&spans, &both()).map(|trace| trace.to_string());
        assert_eq!(
            summary,
            Ok("complete, 3 spans of service-a, service-b".to_owned())
        );
    }

    #[rstest::rstest]
    #[case::no_span(&[], Incomplete::Services("service-a, service-b".into()))]
    #[case::one_service(&[("service-a", 1, 0)], Incomplete::Services("service-b".into()))]
    #[case::no_root(&[("service-a", 2, 1), ("service-b", 3, 2)], Incomplete::Root)]
    #[case::a_gap(&[("service-a", 1, 0), ("service-b", 3, 2)], Incomplete::Parents(1))]
    fn missing_part_is_named(#[case] spans: &[(&str, u8, u8)], #[case] missing: Incomplete) {
        assert_eq!(CompleteTrace::of(&trace(spans), &both()), Err(missing));
    }
}
