//! A trace as JSON.

use std::collections::BTreeMap;

use spoor_traces::tree::{Bottleneck, Group, Row, Tree, value};

use super::{
    format::{milliseconds, offset},
    notes,
};

/// A trace as JSON.
pub(super) fn json(id: &str, tree: &Tree) -> serde_json::Value {
    let span = |row: &Row| {
        let attributes = row.member.span.attributes.iter();
        let attributes = attributes.map(|it| (&it.key, value::text(it.value.as_ref())));
        let attributes: BTreeMap<_, _> = attributes.collect();
        serde_json::json!({
            "spanId": value::hex(&row.member.span.span_id),
            "parentSpanId": row.member.parent_id().map(value::hex),
            "service": row.member.service(),
            "operation": row.member.span.name,
            "depth": row.depth,
            // From the start of the trace: absolute nanoseconds do not fit into a JSON number.
            "startMilliseconds": milliseconds(offset(tree, row.member.start())),
            "durationMilliseconds": milliseconds(row.member.duration()),
            "selfMilliseconds": milliseconds(row.self_time),
            "criticalMilliseconds": milliseconds(row.critical_time()),
            "error": row.member.is_error(),
            "statusMessage": row.member.status_message(),
            "traceState": row.member.span.trace_state,
            "attributes": attributes,
            "notes": notes::of(tree, row, false),
        })
    };
    // Of repeated siblings. Their indices are those in `spans`.
    let group = |group: &Group| {
        serde_json::json!({
            "spans": group.rows,
            "totalMilliseconds": milliseconds(group.total),
            "wallMilliseconds": milliseconds(group.wall),
            "errors": group.errors,
        })
    };
    serde_json::json!({
        "traceId": id,
        "durationMilliseconds": milliseconds(tree.duration()),
        "bottleneck": bottleneck(tree),
        "groups": tree.groups().iter().map(group).collect::<Vec<_>>(),
        "spans": tree.rows().iter().map(span).collect::<Vec<_>>(),
    })
}

fn bottleneck(tree: &Tree) -> Option<serde_json::Value> {
    let found = tree.bottleneck().filter(Bottleneck::is_dominant)?;
    let row = tree.rows().get(*found.rows.first()?)?;
    Some(serde_json::json!({
        "service": row.member.service(),
        "operation": row.member.span.name,
        "spans": found.rows.len(),
        "milliseconds": milliseconds(found.time),
        "share": found.share,
    }))
}
