//! A span's details: attributes, events, links, resource and scope.

use std::time::Duration;

use maud::{Markup, html};
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::span::{Event, Link},
};
use spoor_traces::{
    TraceId,
    tree::{Position, Row, Tree, value},
};

use crate::{layout::Site, text};

/// The most attributes, events or links in a list.
const MAX_LISTED: usize = 100;
/// The most characters of a value that are shown.
const MAX_VALUE_CHARACTERS: usize = 1_000;

/// The details of a row.
pub fn details(site: &Site, tree: &Tree, row: &Row) -> Markup {
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
            (attributes("Attributes", &span.attributes))
            (events(tree, &span.events))
            (links(site, &span.links))
            (attributes("Resource", &member.resource.attributes))
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
        @if is_early { p .note { "It starts before its parent, although the same clock timed both." } }
        @for warning in member.warnings() { p .note { (text::cut(warning, MAX_VALUE_CHARACTERS)) } }
        @if is_negative { p .note { "Its reported end is before its start." } }
    }
}

fn attributes(heading: &str, attributes: &[KeyValue]) -> Markup {
    html! {
        @if !attributes.is_empty() {
            h2 { (heading) }
            (table(attributes))
        }
    }
}

fn table(attributes: &[KeyValue]) -> Markup {
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
                    tr {
                        th scope="row" { (text::cut(&attribute.key, 200)) }
                        td { (text::cut(&value::text(attribute.value.as_ref()), MAX_VALUE_CHARACTERS)) }
                    }
                }
            }
        }
        (left_out(attributes.len()))
    }
}

fn events(tree: &Tree, events: &[Event]) -> Markup {
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
                        @if !event.attributes.is_empty() { (table(&event.attributes)) }
                    }
                }
            }
            (left_out(events.len()))
        }
    }
}

fn links(site: &Site, links: &[Link]) -> Markup {
    html! {
        @if !links.is_empty() {
            h2 { "Links" }
            ul .links {
                @for link in links.iter().take(MAX_LISTED) {
                    li {
                        (linked_span(site, link))
                        @if !link.attributes.is_empty() { (table(&link.attributes)) }
                    }
                }
            }
            (left_out(links.len()))
        }
    }
}

fn linked_span(site: &Site, link: &Link) -> Markup {
    let id = <[u8; 16]>::try_from(link.trace_id.as_slice()).map(TraceId::from_bytes);
    html! {
        @if value::is_zero(&link.trace_id) {
            "A link without a trace ID"
        } @else {
            @if let Ok(id) = id {
                "Trace " a href=(site.link(&format!("trace/{id}"))) { code { (id) } }
            } @else {
                "Trace " code { (text::cut(&value::hex(&link.trace_id), 64)) }
            }
            ", span " code { (text::cut(&value::hex(&link.span_id), 64)) }
        }
    }
}

fn left_out(total: usize) -> Markup {
    html! {
        @if total > MAX_LISTED {
            p .cut { (text::grouped(total - MAX_LISTED)) " more are not shown; the JSON has all of them." }
        }
    }
}
