//! A span's details: attributes, events, links, resource and scope.

use std::time::Duration;

use maud::{Markup, html};
use opentelemetry_proto::tonic::{common::v1::KeyValue, trace::v1::span::Event};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_traces::tree::{Position, Row, Tree, value};

use super::{links, waterfall::View};
use crate::text;

/// The most attributes, events or links in a list.
pub const MAX_LISTED: usize = 100;
/// The most characters of a value that are shown.
const MAX_VALUE_CHARACTERS: usize = 1_000;
/// The longest key and value, in bytes, that link to a search. Each link repeats both.
const MAX_SEARCHED_BYTES: usize = 200;

/// The details of a row.
pub fn details(view: &View<'_>, row: &Row) -> Markup {
    let tree = view.tree;
    let search = search_prefix(view, row.member.service());
    let member = &row.member;
    let span = &member.span;
    html! {
        div .details id=(anchor(row)) {
            (notes(tree, row))
            dl .figures {
                div { dt { "Starts at" } dd { (text::duration(Duration::from_nanos(member.start() - tree.start()))) } }
                div { dt { "Duration" } dd { (text::duration(member.duration())) } }
                div { dt { "Self time" } dd { (text::duration(row.self_time)) } }
                div { dt { "On critical path" } dd { (text::duration(row.critical_time())) } }
                @if !member.kind().is_empty() { div { dt { "Kind" } dd { (member.kind()) } } }
                div { dt { "Span ID" } dd { code { (value::hex(&span.span_id)) } } }
            }
            (attributes("Attributes", &span.attributes, &search))
            (events(tree, &span.events, &search))
            (links::links(view, row))
            (attributes("Resource", &member.resource.attributes, &search))
            @if !member.scope.name.is_empty() {
                p .soft {
                    "Recorded by " (text::cut(&member.scope.name, 200))
                    " " (text::cut(&member.scope.version, 80))
                }
            }
        }
    }
}

/// The URL fragment of a row's details.
pub fn anchor(row: &Row) -> String {
    format!("span-{}", value::hex(&row.member.span.span_id))
}

/// The time by which a span outlives its parent, if it does.
pub fn lateness(tree: &Tree, row: &Row) -> Option<Duration> {
    let parent = row.parent.and_then(|parent| tree.rows().get(parent))?;
    let late = row.member.end().checked_sub(parent.member.end())?;
    (late > 0).then_some(Duration::from_nanos(late))
}

/// Errors and warnings.
fn notes(tree: &Tree, row: &Row) -> Markup {
    let member = &row.member;
    let parent = row.parent.and_then(|parent| tree.rows().get(parent));
    let parent = parent.map(|row| &row.member);
    let is_early = parent.is_some_and(|parent| member.start() < parent.start());
    let is_negative = member.span.end_time_unix_nano < member.span.start_time_unix_nano;
    html! {
        @if member.is_error() {
            p .note .error {
                b { "Error" }
                @if !member.status_message().is_empty() {
                    ": " (text::cut(member.status_message(), MAX_VALUE_CHARACTERS))
                }
            }
        }
        @if row.position == Position::MissingParent {
            p .note {
                "Its parent " code { (value::hex(&member.span.parent_span_id)) }
                " is not in this trace: it was not sampled, not exported yet, or lost."
            }
        }
        @if row.position == Position::Cycle {
            p .note { "It is its own ancestor, so it is shown as a root." }
        }
        @if let Some(late) = lateness(tree, row) {
            p .note { "It ends " (text::duration(late)) " after its parent, which does not wait for it." }
        }
        @if is_early { p .note { "It starts before its parent, although the same clock timed both." } }
        @for warning in member.warnings() { p .note { (text::cut(warning, MAX_VALUE_CHARACTERS)) } }
        @if is_negative { p .note { "Its reported end is before its start." } }
    }
}

fn attributes(heading: &str, attributes: &[KeyValue], search: &str) -> Markup {
    html! {
        @if !attributes.is_empty() {
            h2 { (heading) }
            (table(attributes, Some(search)))
        }
    }
}

/// The start of a link to a search for spans of a service by tags, which follow. A long name is left
/// out, since each link repeats it.
fn search_prefix(view: &View<'_>, service: &str) -> String {
    if service.len() > MAX_SEARCHED_BYTES {
        return view.site.link("search?tags=");
    }
    let service = utf8_percent_encode(service, NON_ALPHANUMERIC);
    let path = format!("search?service={service}&tags=");
    view.site.link(&path)
}

/// A link to a search for an attribute; none if the form cannot express it.
pub fn search_link(prefix: &str, key: &str, value: &str) -> Option<String> {
    let is_key = !key.is_empty() && !key.contains(|c: char| c == '=' || c.is_whitespace());
    let is_short = key.len() + value.len() <= MAX_SEARCHED_BYTES;
    if !is_key || !is_short || value.contains('"') || value::visible_line(value) != value {
        return None;
    }
    let tag = format!("{key}=\"{value}\"");
    Some(format!(
        "{prefix}{}",
        utf8_percent_encode(&tag, NON_ALPHANUMERIC)
    ))
}

/// A table of attributes. With the start of a link to a search, a value is a link to the spans that
/// have it.
pub fn table(attributes: &[KeyValue], search: Option<&str>) -> Markup {
    let mut sorted: Vec<&KeyValue> = attributes.iter().collect();
    // A resource may have tens of thousands, and each of its spans shows the first ones.
    if sorted.len() > MAX_LISTED {
        sorted.select_nth_unstable_by(MAX_LISTED, |a, b| a.key.cmp(&b.key));
        sorted.truncate(MAX_LISTED);
    }
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    html! {
        table {
            tbody {
                @for attribute in sorted {
                    @let value = value::text(attribute.value.as_ref());
                    @let link = search.and_then(|prefix| search_link(prefix, &attribute.key, &value));
                    tr {
                        th scope="row" { (text::cut(&attribute.key, 200)) }
                        td {
                            @if let Some(link) = link { a href=(link) { (value) } }
                            @else { (text::cut(&value, MAX_VALUE_CHARACTERS)) }
                        }
                    }
                }
            }
        }
        (left_out(attributes.len()))
    }
}

fn events(tree: &Tree, events: &[Event], search: &str) -> Markup {
    html! {
        @if !events.is_empty() {
            h2 { "Events" }
            ol .events {
                @for event in events.iter().take(MAX_LISTED) {
                    li {
                        p {
                            span .at {
                                (text::duration(Duration::from_nanos(
                                    event.time_unix_nano.saturating_sub(tree.start()),
                                )))
                            }
                            " " b { (text::cut(&event.name, 200)) }
                        }
                        @if !event.attributes.is_empty() { (table(&event.attributes, Some(search))) }
                    }
                }
            }
            (left_out(events.len()))
        }
    }
}

pub fn left_out(total: usize) -> Markup {
    html! {
        @if total > MAX_LISTED {
            p .cut { (text::grouped(total - MAX_LISTED)) " more are not shown; the JSON has all of them." }
        }
    }
}
