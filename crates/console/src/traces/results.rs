//! The results of a search.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::{
    KeepReason,
    query::parameters::{nanos, now},
};

use super::{filter::Filter, listed::ListedTrace, scatter};
use crate::{
    backend::{BackendError, FoundTraces, SourceKind},
    layout::Site,
    palette::Palette,
    text,
};

/// The results, or advice if there are none.
pub fn results(
    site: &Site,
    filter: &Filter,
    kind: SourceKind,
    found: FoundTraces,
    palette: &Palette,
) -> Markup {
    let FoundTraces {
        mut traces,
        too_large,
        stored,
    } = found;
    if traces.is_empty() && too_large.is_empty() {
        return match stored.map_or(!filter.is_restrictive(), |stored| stored == 0) {
            true => nothing_stored(site, kind),
            false => no_match(site, filter, stored),
        };
    }
    let hidden = hide_routine(filter, &mut traces);
    if filter.is_longest_first {
        traces.sort_by_key(|trace| std::cmp::Reverse(trace.duration));
    }
    let longest = traces.iter().map(|trace| trace.duration).max();
    let longest = longest.unwrap_or_default();
    let now = now();
    html! {
        section aria-labelledby="found" {
            div .heading {
                h1 #found { (text::count(traces.len(), "trace")) }
                p .soft {
                    @if traces.len() == filter.search.limit {
                        "The newest " (filter.search.limit) " that match"
                        @if stored.is_some() { "; " }
                    }
                    @if let Some(stored) = stored { (text::grouped(stored)) " stored" }
                }
                @if traces.len() > 1 {
                    // The rows have its fields.
                    form #compare action=(site.link("compare")) {
                        button .quiet { "Compare two selected" }
                    }
                }
                @if !filter.is_longest_first {
                    // Shown by the script, which adds new traces to the list.
                    p .live hidden {
                        output #arrived aria-live="polite" {}
                        button #follow .quiet type="button" aria-pressed="false" { "Follow new traces" }
                    }
                }
            }
            @if hidden > 0 {
                p .soft {
                    (text::count(hidden, "request")) " for static files and health checks "
                    @if hidden == 1 { "is" } @else { "are" } " hidden; the form has a switch to show them."
                }
            }
            @if let Some(first) = too_large.first() {
                p .soft {
                    (text::count(too_large.len(), "trace")) " too large to be shown, such as "
                    code { (first) }
                }
            }
            (scatter::scatter(site, &traces))
            ol .results {
                @for trace in &traces {
                    (result(site, trace, palette, longest, now))
                }
            }
        }
    }
}

/// The rows of a list alone, for a page that shows earlier ones already.
pub fn rows(
    site: &Site,
    filter: &Filter,
    mut traces: Vec<ListedTrace>,
    palette: &Palette,
) -> Markup {
    hide_routine(filter, &mut traces);
    let longest = traces.iter().map(|trace| trace.duration).max();
    let longest = longest.unwrap_or_default();
    let now = now();
    html! {
        @for trace in &traces { (result(site, trace, palette, longest, now)) }
    }
}

/// Removes static files and health checks, unless they are to be listed, and the oldest traces beyond
/// the limit. Returns the number of the former.
fn hide_routine(filter: &Filter, traces: &mut Vec<ListedTrace>) -> usize {
    let found = traces.len();
    if filter.hides_routine() {
        traces.retain(|trace| !trace.is_routine);
    }
    let hidden = found - traces.len();
    traces.truncate(filter.search.limit);
    hidden
}

/// The notice in place of the results if a field is invalid.
pub fn invalid() -> Markup {
    html! {
        section .notice role="alert" {
            h1 { "Check the form" }
            p { "A field has an invalid value. The message below the field says which values are valid." }
        }
    }
}

/// The notice in place of the results of a search that failed.
pub fn refused(error: &BackendError) -> Markup {
    html! {
        section .notice role="alert" {
            h1 { "The search failed" }
            p { (text::cut(&error.to_string(), 1_000)) "." }
        }
    }
}

fn result(
    site: &Site,
    trace: &ListedTrace,
    palette: &Palette,
    longest: Duration,
    now: u64,
) -> Markup {
    let share = text::percent_along(nanos(trace.duration), nanos(longest)).max(0.3);
    html! {
        li .result .failed[trace.errors > 0] data-id=(trace.id) data-start=(trace.start) {
            a .what href=(site.link(&format!("trace/{}", trace.id))) {
                span .service { (text::cut(&trace.service, 80)) }
                " "
                strong { (trace.operation) }
            }
            span .long { (text::duration(trace.duration)) }
            svg .share width="100%" height="4" aria-hidden="true" {
                rect .track width="100%" height="4" rx="2" {}
                rect .fill width=(format!("{share:.2}%")) height="4" rx="2" {}
            }
            div .badges {
                @if trace.errors > 0 {
                    span .badge .error { (text::count(trace.errors, "error")) }
                }
                span .badge .plain { (text::count(trace.spans, "span")) }
                @for (service, count) in &trace.services {
                    span .badge {
                        span class=(format!("dot {}", palette.class(service))) {}
                        (text::cut(service, 40)) " " span .soft { (text::grouped(*count)) }
                    }
                }
                @if trace.other_services > 0 {
                    span .soft { "and " (trace.other_services) " more" }
                }
            }
            p .when {
                label .check .pick {
                    input type="checkbox" form="compare" name="id" value=(trace.id);
                    "Compare" span .hidden { " " (text::short(trace.id)) }
                }
                code { (text::short(trace.id)) } " · "
                time datetime=(text::date_time(trace.start).replace(' ', "T") + "Z")
                    title=(text::date_time(trace.start) + " UTC") {
                    (text::ago(trace.start, now))
                }
                @if let Some(kept) = trace.kept.as_ref().filter(|kept| **kept != KeepReason::NoPolicy) {
                    " · kept: " (kept)
                }
            }
        }
    }
}

fn nothing_stored(site: &Site, kind: SourceKind) -> Markup {
    html! {
        section .notice {
            h1 { "No traces yet" }
            p { "No traces are stored. To send spans:" }
            ul {
                @if kind == SourceKind::Lab {
                    li {
                        "In the lab, call the edge: " code { "curl http://127.0.0.1:8080/" }
                        ", or send load: " code { "spoor load" } "."
                    }
                    li {
                        "From your own service, export over OTLP: "
                        code { "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317" } "."
                    }
                } @else {
                    li { "Call a service that exports its spans to the stack of its namespace." }
                }
                li {
                    "If requests leave no traces, they were not sampled, or no tail rule kept them; see "
                    a href=(site.link("policies")) { "the policies" } "."
                }
            }
            p { a .button href=(site.link("")) { "Search again" } }
        }
    }
}

fn no_match(site: &Site, filter: &Filter, stored: Option<usize>) -> Markup {
    html! {
        section .notice {
            h1 { "No trace matches" }
            p {
                @if let Some(stored) = stored {
                    (text::count(stored, "trace"))
                    @if stored == 1 { " is" } @else { " are" }
                    " stored, but none has a span that matches all fields of the form."
                } @else {
                    "No stored trace has a span that matches all fields of the form."
                }
            }
            ul {
                @if filter.search.start_min.is_some() { li { "Look further back." } }
                @if filter.search.operation.is_some() {
                    li { "The operation is the span's exact name, such as " code { "GET /" } "." }
                }
                @if !filter.search.tags.is_empty() {
                    li { "One span must have all tags, each with its exact value, such as " code { "error=true" } "." }
                }
                @if filter.search.duration_min.is_some() || filter.search.duration_max.is_some() {
                    li { "Durations apply to a single span, not to the trace." }
                }
            }
            @if filter.is_restrictive() {
                p { a .button href=(site.link("")) { "Show all traces" } }
            }
        }
    }
}
