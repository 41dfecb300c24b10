//! The page of one trace.

use axum::response::Html;
use maud::{Markup, html};
use spoor_policy::PolicyName;
use spoor_traces::{
    KeepReason, TraceId,
    query::parameters::now,
    tree::{Bottleneck, Row, Tree},
};

use super::{
    flame::flame,
    listed::display_name,
    operations::operations,
    tabs::{Tab, tabs},
    waterfall::{self, View},
};
use crate::{
    layout::{Section, Site},
    palette::Palette,
    text,
};

/// The most services named in the legend.
const MAX_LEGEND_SERVICES: usize = 40;

/// One view of a trace, below the facts about it.
pub fn trace(view: &View<'_>, kept: Option<&KeepReason>) -> Markup {
    html! {
        (heading(view))
        (facts(view, kept))
        (findings(view))
        (legend(view.tree, view.palette))
        @if view.is_stored { (tabs(view)) }
        @match view.tab {
            Tab::Waterfall => { (waterfall::waterfall(view)) }
            Tab::Operations(order) => { (operations(view, order)) }
            Tab::Flame(frame) => { (flame(view, frame)) }
        }
    }
}

/// The page for a trace that is not stored.
pub fn missing(site: &Site, id: TraceId) -> Html<String> {
    let message = html! {
        p { "No trace with the ID " code { (id) } " is stored. Possible reasons:" }
        ul {
            li { "It was not sampled, or no tail rule kept it; see " a href=(site.link("policies")) { "the policies" } "." }
            li { "It has not arrived yet. Spans are exported in batches; try again in a few seconds." }
            li { "It was evicted to make room for newer ones, since the store is bounded." }
        }
    };
    site.notice(
        Section::Traces,
        "Trace not found",
        "This trace is not stored",
        message,
    )
}

fn heading(view: &View<'_>) -> Markup {
    let View { site, id, .. } = view;
    let root = view.tree.root().map(|row| &row.member);
    let service = root.map_or("", |root| root.service());
    let operation = root.map_or("", |root| &root.span.name);
    html! {
        div .heading .trace {
            div {
                p .crumbs { a href=(site.link("")) { "Traces" } }
                h1 {
                    span .service { (text::cut(service, 120)) } " "
                    (text::cut(display_name(operation), 240))
                }
                p .id {
                    code { (id) }
                    @if !view.is_stored { " " span .badge { "imported, not stored" } }
                }
            }
            @if view.is_stored {
                div .links {
                    a .button .quiet href=(site.link(&format!("compare?a={id}"))) { "Compare with…" }
                    a .button .quiet href=(site.link(&format!("trace/{id}.json"))) download {
                        "Download as OTLP JSON"
                    }
                }
            }
        }
    }
}

fn facts(view: &View<'_>, kept: Option<&KeepReason>) -> Markup {
    let tree = view.tree;
    let errors = tree.errors();
    let depth = tree.rows().iter().map(|row| row.depth + 1).max();
    html! {
        dl .facts {
            div { dt { "Duration" } dd { (text::duration(tree.duration())) } }
            div {
                dt { "Started" }
                dd {
                    (text::date_time(tree.start())) " UTC "
                    span .soft { (text::ago(tree.start(), now())) }
                }
            }
            div { dt { "Spans" } dd { (text::grouped(tree.rows().len())) } }
            div .failed[errors > 0] { dt { "Errors" } dd { (text::grouped(errors)) } }
            div { dt { "Services" } dd { (text::grouped(tree.services().len())) } }
            div { dt { "Depth" } dd { (depth.unwrap_or(0)) } }
            @if let Some(kept) = kept {
                div .why { dt { "Kept because" } dd { (reason(view.site, kept)) } }
            }
        }
    }
}

/// The reason that a trace was kept, as a sentence.
fn reason(site: &Site, kept: &KeepReason) -> Markup {
    let policy = |name: &PolicyName| {
        html! { a href=(site.link(&format!("policies?policy={name}"))) { (name.to_string()) } }
    };
    html! {
        @match kept {
            KeepReason::NoPolicy => { "no tail policy applies to it" }
            KeepReason::NoRoot => { "it had no root span when the tail sampler decided" }
            KeepReason::Rule { policy: name, rule } => {
                "rule " b { (rule.to_string()) } " of policy " (policy(name)) " matched"
            }
            KeepReason::Otherwise { policy: name, .. } => {
                "no rule matched, and it is in the share of other traces that policy "
                (policy(name)) " keeps"
            }
            KeepReason::Head { policy: name } => {
                "no rule matched, but head sampling had already dropped as many other traces as policy "
                (policy(name)) " would"
            }
            KeepReason::UnnamedPolicy => {
                "a policy keeps it; the policy's name was not recorded, since there were too many names"
            }
        }
    }
}

/// Links to the origin of the error and to the bottleneck.
fn findings(view: &View<'_>) -> Markup {
    let rows = view.tree.rows();
    let at = |index: usize| rows.get(index).map(|row| (index, row));
    let origin = view.tree.origin_of_errors().and_then(at);
    let bottleneck = view.tree.bottleneck();
    html! {
        @if origin.is_some() || bottleneck.is_some() {
            ul .findings {
                @if let Some((index, row)) = origin {
                    li .failed {
                        // Lesson 4 asks where an injected error began.
                        @if row.has_injected_fault() {
                            "The error was injected on purpose, so its origin is not shown."
                        } @else {
                            "The error began in " (link(view, index, row))
                            @if !row.member.status_message().is_empty() {
                                ": " (text::cut(row.member.status_message(), 200))
                            }
                        }
                    }
                }
                @if let Some(bottleneck) = bottleneck {
                    @if view.tree.time_after_root() > view.tree.critical_time() {
                        li {
                            "Work goes on for " (text::duration(view.tree.time_after_root()))
                            " after the root span has ended. It is not on the critical path."
                        }
                    }
                    (bottleneck_item(view, &bottleneck))
                }
            }
        }
    }
}

fn bottleneck_item(view: &View<'_>, bottleneck: &Bottleneck) -> Markup {
    let first = bottleneck.rows.first().copied();
    let first = first.and_then(|index| Some((index, view.tree.rows().get(index)?)));
    let times = bottleneck.rows.len();
    let critical = view.tree.critical_time();
    html! {
        @if let Some((index, row)) = first {
            li {
                @if bottleneck.is_dominant() { "Bottleneck: " }
                @else { "No bottleneck: nothing dominates the critical path. The largest part is " }
                @if times > 1 { (text::grouped(times)) " × " }
                (link(view, index, row))
                ": " (text::duration(bottleneck.time)) " of " (text::duration(critical))
                " (" (text::percent(bottleneck.time, critical)) ")"
            }
        }
    }
}

/// A link to a row's details, which opens them.
fn link(view: &View<'_>, index: usize, row: &Row) -> Markup {
    html! {
        a href=(view.link_to(index, row)) {
            (text::cut(row.member.service(), 80)) " "
            b { (text::cut(display_name(&row.member.span.name), 120)) }
        }
    }
}

fn legend(tree: &Tree, palette: &Palette) -> Markup {
    let services = tree.services();
    html! {
        ul .legend aria-label="Services" {
            @for (service, count) in services.iter().take(MAX_LEGEND_SERVICES) {
                li .badge {
                    span class=(format!("dot {}", palette.class(service))) {}
                    (text::cut(service, 60)) " " span .soft { (text::grouped(*count)) }
                }
            }
            @if services.len() > MAX_LEGEND_SERVICES {
                li .soft { "and " (services.len() - MAX_LEGEND_SERVICES) " more" }
            }
            li .key { span .swatch .critical {} "critical path" }
            li .key { span .cross { "✕" } "error" }
        }
    }
}
