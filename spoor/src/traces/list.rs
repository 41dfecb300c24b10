//! Lists of traces, as a table or JSON.

use jiff::Timestamp;
use spoor_traces::{client::FoundTrace, tree::Tree};

use super::{
    format::{milliseconds, printable, short_duration},
    render::Canvas,
};
use crate::cli::{TextTable, age};

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
