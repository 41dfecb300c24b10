//! The check that a trace is complete.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
};

use spoor_traces::tree::Member;

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
    /// Checks a trace's spans.
    ///
    /// # Errors
    /// [`Incomplete`] names the missing part.
    pub(super) fn of(spans: &[Member], expected: &[String]) -> Result<Self, Incomplete> {
        let services: BTreeSet<String> =
            spans.iter().map(|span| span.service().to_owned()).collect();
        let missing: Vec<&str> = expected
            .iter()
            .filter(|service| !services.contains(*service))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            return Err(Incomplete::Services(missing.join(", ")));
        }
        let ids: HashSet<&[u8]> = spans
            .iter()
            .map(|member| member.span.span_id.as_slice())
            .collect();
        // After the services, since their message is more specific.
        if spans.iter().all(|span| span.parent_id().is_some()) {
            return Err(Incomplete::Root);
        }
        let orphans = spans
            .iter()
            .filter_map(Member::parent_id)
            .filter(|parent| !ids.contains(parent))
            .count();
        if orphans > 0 {
            return Err(Incomplete::Parents(orphans));
        }
        Ok(Self {
            spans: spans.len(),
            services,
        })
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
    use spoor_traces::tree::members;

    use super::*;
    use crate::traces::spans::span;

    /// Of service-a or service-b: an ID, and that of the parent (0: none).
    fn trace(spans: &[(&str, u8, u8)]) -> Vec<Member> {
        let batch = |&(service, id, parent)| span(service, "", id, parent, 0, 0);
        members(spans.iter().map(batch).collect())
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
