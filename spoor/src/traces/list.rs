//! Lists of traces, as a table or JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use spoor_traces::tree::{Member, Row, Tree, correct_clock_skew, members, value};

use super::{
    format::{milliseconds, printable, short_duration},
    render::Canvas,
};
use crate::cli::{TextTable, age};

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

pub(super) fn table(found: &[FoundTrace], now: Timestamp, canvas: Canvas) -> String {
    if found.is_empty() {
        return "No traces found. Send some load (`spoor load`), or look further back (--lookback 24h).\n"
            .to_owned();
    }
    let mut table = TextTable::new(&[
        "TRACE", "AGE", "DURATION", "SPANS", "ERRORS", "ROOT", "SERVICES",
    ]);
    for FoundTrace { id, tree } in found {
        let start = i128::from(tree.start());
        let since = Timestamp::from_nanosecond(start).unwrap_or(Timestamp::UNIX_EPOCH);
        table.row([
            id.clone(),
            age(since, now),
            short_duration(tree.duration()),
            tree.rows().len().to_string(),
            match tree.errors() {
                0 => String::new(),
                errors => errors.to_string(),
            },
            root(tree),
            services(tree).join(", "),
        ]);
    }
    if canvas.truncates {
        table.fit(canvas.columns, &["AGE", "SPANS", "ERRORS"]);
    }
    table.to_string()
}

pub(super) fn json(found: &FoundTrace) -> serde_json::Value {
    let FoundTrace { id, tree } = found;
    serde_json::json!({
        "traceId": id,
        // A string: JSON numbers lose precision above 2^53.
        "startUnixNanos": tree.start().to_string(),
        "durationMilliseconds": milliseconds(tree.duration()),
        "spans": tree.rows().len(),
        "errors": tree.errors(),
        "root": root(tree),
        "services": services(tree),
    })
}

pub(super) fn root(tree: &Tree) -> String {
    let name = tree.root().map(|row| printable(&row.member.span.name));
    name.unwrap_or_default()
}

pub(super) fn services(tree: &Tree) -> Vec<String> {
    let services = tree.services().into_iter();
    services.map(|(name, _)| printable(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::spans::span;

    #[test]
    fn grouped_traces_keep_their_order() {
        let of_trace = |id: u8| {
            let mut batch = span("shop", "GET /", 1, 0, 0, 5);
            batch.scope_spans[0].spans[0].trace_id = vec![id; 16];
            batch
        };
        let found = group_by_trace(vec![of_trace(9), of_trace(1), of_trace(9)]);
        let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
        assert_eq!(ids, ["09".repeat(16), "01".repeat(16)]);
    }
}
