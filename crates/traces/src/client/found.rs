//! Traces that a search found.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use crate::tree::{Member, Row, Tree, correct_clock_skew, members, value};

/// A trace that was found.
#[derive(Clone, Debug)]
pub struct FoundTrace {
    /// The trace ID, 32 hexadecimal digits.
    pub id: String,
    /// The spans.
    pub tree: Tree,
}

impl FoundTrace {
    /// Returns whether one span has all of these attributes, including those of its resource. As in
    /// Jaeger, `error` means the status.
    pub(super) fn has_tags(&self, tags: &[(String, String)]) -> bool {
        let has_tag = |row: &Row, (key, expected): &(String, String)| {
            if key == "error" {
                return row.member.is_error().to_string() == *expected;
            }
            let attributes = row.member.span.attributes.iter();
            let mut attributes = attributes.chain(&row.member.resource.attributes);
            attributes.any(|it| it.key == *key && value::text(it.value.as_ref()) == *expected)
        };
        let has_all = |row: &Row| tags.iter().all(|tag| has_tag(row, tag));
        self.tree.rows().iter().any(has_all)
    }
}

/// Groups the spans of a response by trace, in the order of the response. The API returns the spans
/// of all traces together.
pub(super) fn group_by_trace(mut batches: Vec<ResourceSpans>) -> Vec<FoundTrace> {
    // Otherwise the tree would draw a child before its parent if two clocks disagree.
    correct_clock_skew(&mut batches);
    let mut by_id: BTreeMap<String, (usize, Vec<Member>)> = BTreeMap::new();
    for (index, member) in members(batches).into_iter().enumerate() {
        let id = value::hex(&member.span.trace_id);
        let (_, of_trace) = by_id.entry(id).or_insert_with(|| (index, vec![]));
        of_trace.push(member);
    }
    let mut traces: Vec<_> = by_id.into_iter().collect();
    traces.sort_by_key(|(_, (first, _))| *first);
    let traces = traces.into_iter().map(|(id, (_, members))| FoundTrace {
        id,
        tree: Tree::of(members),
    });
    traces.collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};

    use super::*;

    #[test]
    fn grouped_traces_keep_their_order() {
        let of_trace = |id: u8| ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![Span {
                    trace_id: vec![id; 16],
                    span_id: vec![id; 8],
                    ..Span::default()
                }],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        };
        let found = group_by_trace(vec![of_trace(9), of_trace(1), of_trace(9)]);
        let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
        assert_eq!(ids, ["09".repeat(16), "01".repeat(16)]);
    }
}
