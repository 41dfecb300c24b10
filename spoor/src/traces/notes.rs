//! The notes of a span, in lines below it: its status, `tracestate`, warnings, events and links,
//! and what is wrong with its parent.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::span::{Event, Link},
};
use spoor_policy::message::shortened;
use spoor_traces::tree::{Position, Row, Tree, value, warnings};

use super::format::{offset, printable, short_duration};

/// The most events, links or attributes shown of each list.
const MAX_SHOWN: usize = 5;
/// The most attributes shown of a span, and of a resource.
const MAX_ATTRIBUTES: usize = 100;
/// The most characters shown of a text.
const MAX_CHARACTERS: usize = 200;
/// An event's time that precedes its trace by more than this is in another unit.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The lines for a span, with printable characters only. Its attributes have lines of their own if
/// they are included.
pub(super) fn of(tree: &Tree, row: &Row, includes_attributes: bool) -> Vec<String> {
    let member = &row.member;
    let mut lines = Vec::new();
    lines.extend(status(row));
    // Only the root's, since that of other spans is the same unless a service adds to it.
    if row.depth == 0 && !member.span.trace_state.is_empty() {
        lines.push(format!("tracestate: {}", short(&member.span.trace_state)));
    }
    match row.position {
        Position::Root | Position::Child => {}
        Position::MissingParent => lines.push(format!(
            "parent {} is not in this trace: not sampled, not exported yet, or lost",
            value::hex(&member.span.parent_span_id)
        )),
        Position::Cycle => lines.push("the span is its own ancestor".to_owned()),
    }
    lines.extend(warnings_of(row).into_iter().map(short));
    let events = &member.span.events;
    lines.extend(events.iter().take(MAX_SHOWN).map(|it| event(tree, it)));
    lines.extend(left_out(events.len(), MAX_SHOWN, "events"));
    let links = &member.span.links;
    lines.extend(links.iter().take(MAX_SHOWN).map(link));
    lines.extend(left_out(links.len(), MAX_SHOWN, "links"));
    if includes_attributes {
        lines.extend(details(tree, row));
    }
    lines
}

/// The line for its status message, if it has one.
pub(super) fn status(row: &Row) -> Option<String> {
    let message = row.member.status_message();
    (!message.is_empty()).then(|| format!("status: {}", short(message)))
}

/// The span's kind and attributes, and those of its resource unless its parent has the same.
fn details(tree: &Tree, row: &Row) -> Vec<String> {
    let member = &row.member;
    let mut lines = Vec::new();
    if !member.kind().is_empty() {
        lines.push(format!("kind: {}", member.kind()));
    }
    // The warnings have lines of their own.
    let of_span = member.span.attributes.iter();
    let of_span = of_span.filter(|attribute| attribute.key != warnings::KEY);
    lines.extend(list("", of_span.collect()));
    let parent = row.parent.and_then(|parent| tree.rows().get(parent));
    if parent.is_none_or(|parent| !Arc::ptr_eq(&parent.member.resource, &member.resource)) {
        let of_resource = member.resource.attributes.iter();
        lines.extend(list("resource ", of_resource.collect()));
    }
    lines
}

/// A line for each attribute.
fn list(prefix: &str, attributes: Vec<&KeyValue>) -> Vec<String> {
    let line = |attribute: &&KeyValue| format!("{prefix}{}", pair(attribute));
    let shown = attributes.iter().take(MAX_ATTRIBUTES).map(line);
    let left_out = left_out(attributes.len(), MAX_ATTRIBUTES, "attributes");
    shown.chain(left_out).collect()
}

/// The warnings of the query API, except about a missing parent, which the tree reports itself.
fn warnings_of(row: &Row) -> Vec<&str> {
    let parent = value::hex(&row.member.span.parent_span_id);
    let mut warnings = row.member.warnings();
    if row.position == Position::MissingParent {
        // The API reports a missing parent as a warning too, with the same ID.
        warnings.retain(|warning| !warning.contains(&parent));
    }
    warnings
}

fn event(tree: &Tree, event: &Event) -> String {
    let early = Duration::from_nanos(tree.start().saturating_sub(event.time_unix_nano));
    let time = match event.time_unix_nano {
        0 => "without a time".to_owned(),
        // In seconds or milliseconds it would lie decades before.
        _ if early > YEAR => "without a time in nanoseconds".to_owned(),
        _ if !early.is_zero() => format!("{} before the trace", short_duration(early)),
        time => format!("at {}", short_duration(offset(tree, time))),
    };
    let attributes = attributes(&event.attributes);
    format!("event {time}: {}{attributes}", short(&event.name))
}

fn link(link: &Link) -> String {
    let (trace, span) = (value::hex(&link.trace_id), value::hex(&link.span_id));
    let attributes = attributes(&link.attributes);
    format!("link to trace {trace}, span {span}{attributes}")
}

fn attributes(attributes: &[KeyValue]) -> String {
    let indented = |attribute: &KeyValue| format!("  {}", pair(attribute));
    let shown = attributes.iter().take(MAX_SHOWN).map(indented);
    let shown: String = shown.collect();
    match attributes.len().checked_sub(MAX_SHOWN) {
        Some(more) if more > 0 => format!("{shown}  … and {more} more"),
        _ => shown,
    }
}

fn pair(attribute: &KeyValue) -> String {
    let value = value::text(attribute.value.as_ref());
    format!("{}={}", short(&attribute.key), short(&value))
}

fn left_out(total: usize, shown: usize, of: &str) -> Option<String> {
    let more = total.checked_sub(shown).filter(|more| *more > 0)?;
    Some(format!("… and {more} more {of}"))
}

fn short(text: &str) -> String {
    shortened(&printable(text), MAX_CHARACTERS).into_owned()
}
