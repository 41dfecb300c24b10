//! The spans of a trace as bars over time, indented below their parents.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::{
    TraceId,
    tree::{Bottleneck, Member, Position, Row, Tree},
};

use super::{
    details::{self, lateness},
    links::LinkedFrom,
    listed::display_name,
    minimap::minimap,
    tools::tools,
};
use crate::{layout::Site, palette::Palette, text};

/// The most spans on one page.
const MAX_ROWS: usize = 1_000;
/// The size in bytes at which a page stops showing details.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// The deepest level that is indented further than the one above it.
const MAX_INDENT_LEVELS: usize = 16;

/// The trace that a waterfall shows, and the page that it is on.
pub struct View<'a> {
    pub site: &'a Site,
    pub palette: &'a Palette,
    pub tree: &'a Tree,
    pub id: TraceId,
    pub linked_from: LinkedFrom<'a>,
    /// The first row shown.
    pub from: usize,
}

impl View<'_> {
    /// A link to a row's details, on this page or on the one that shows it.
    pub fn link_to(&self, index: usize, row: &Row) -> String {
        let anchor = details::anchor(row);
        let first = first_shown(self);
        if (first..first + MAX_ROWS).contains(&index) {
            return format!("#{anchor}");
        }
        let from = index - index % MAX_ROWS;
        let path = format!("trace/{}?from={from}#{anchor}", self.id);
        self.site.link(&path)
    }
}

/// The time axis and the rows that fit on a page, with links to the others.
pub fn waterfall(view: &View<'_>) -> Markup {
    let rows = view.tree.rows();
    let from = first_shown(view);
    let shown = rows.iter().enumerate().skip(from).take(MAX_ROWS);
    let bottleneck = view.tree.bottleneck().filter(Bottleneck::is_dominant);
    let slowest = bottleneck.map_or_else(Vec::new, |found| found.rows);
    let mut size = 0;
    let shown: Vec<Markup> = shown
        .map(|(index, row)| {
            let shape = Shape {
                // The rows of a bottleneck are sorted.
                is_slowest: slowest.binary_search(&index).is_ok(),
                has_children: rows
                    .get(index + 1)
                    .is_some_and(|next| next.depth > row.depth),
                with_details: size < MAX_PAGE_BYTES,
            };
            let row = item(view, row, shape);
            size += row.0.len();
            row
        })
        .collect();
    let next = from + shown.len();
    html! {
        (tools())
        (minimap(view))
        section .waterfall aria-label="Spans" data-nanos=(view.tree.duration().as_nanos()) {
            (pages(view, from, next))
            (axis(view.tree.duration()))
            ol .rows { @for row in shown { (row) } }
            @if size >= MAX_PAGE_BYTES {
                p .cut {
                    "The details of the remaining spans are not shown, since this page is already large; "
                    "the JSON has all of them."
                }
            }
            (pages(view, from, next))
        }
    }
}

/// The requested row, or the first one if there is no such row.
fn first_shown(view: &View<'_>) -> usize {
    match view.from < view.tree.rows().len() {
        true => view.from,
        false => 0,
    }
}

/// The range of spans shown; nothing if all are shown.
fn pages(view: &View<'_>, from: usize, next: usize) -> Markup {
    let total = view.tree.rows().len();
    let link = |from: usize| view.site.link(&format!("trace/{}?from={from}", view.id));
    html! {
        @if from > 0 || next < total {
            nav .pages aria-label="Parts of the trace" {
                span {
                    "Spans " (text::grouped(from + 1)) "–" (text::grouped(next))
                    " of " (text::grouped(total)) ", in the order of the tree"
                }
                @if from > 0 {
                    a .button .quiet href=(link(from.saturating_sub(MAX_ROWS))) { "Previous" }
                }
                @if next < total { a .button .quiet href=(link(next)) { "Next" } }
            }
        }
    }
}

fn axis(duration: Duration) -> Markup {
    html! {
        div .axis aria-hidden="true" {
            span .corner { "Span" }
            span .ticks {
                @for part in 0..4_u32 { span { (text::duration(duration * part / 4)) } }
                span .last { (text::duration(duration)) }
            }
        }
    }
}

/// The properties of an item that depend on its position.
#[derive(Clone, Copy, Debug)]
struct Shape {
    is_slowest: bool,
    has_children: bool,
    with_details: bool,
}

fn item(view: &View<'_>, row: &Row, shape: Shape) -> Markup {
    let member = &row.member;
    let indent = row.depth.min(MAX_INDENT_LEVELS);
    let class = view.palette.class(member.service());
    html! {
        li .failed[member.is_error()] aria-level=(row.depth + 1) data-depth=(row.depth) {
            @if shape.has_children {
                // Beside the summary, since a button in it would also open the details.
                button class=(format!("fold i{indent}")) type="button" hidden aria-expanded="true"
                    aria-label=(format!("Spans below {}", text::cut(display_name(&member.span.name), 80))) {}
            }
            details {
                summary {
                    span class=(format!("name i{indent}")) {
                        span class=(format!("dot {class}")) {}
                        @if row.depth > MAX_INDENT_LEVELS { span .soft { "+" (row.depth - MAX_INDENT_LEVELS) } }
                        (label(member))
                        @if member.is_error() { span .badge .error { "error" } }
                        @if shape.is_slowest { span .badge .slowest { "bottleneck" } }
                        @if let Some(note) = position_note(row.position) { span .badge { (note) } }
                        @if is_clock_adjusted(member) { span .badge { "clock adjusted" } }
                        @if lateness(view.tree, row).is_some() { span .badge { "late" } }
                        span .hidden { ", " (text::duration(member.duration())) }
                    }
                    (bar(view.tree, row, &class))
                }
                @if shape.with_details {
                    (details::details(view, row))
                } @else {
                    p .cut { "Not shown, since this page is already large; see the JSON." }
                }
            }
        }
    }
}

/// The operation and its service, which CSS truncates in a narrow column. The title shows more of
/// both.
fn label(member: &Member) -> Markup {
    let operation = text::cut(display_name(&member.span.name), 240);
    let service = text::cut(member.service(), 60);
    let (start, end) = text::split_operation(display_name(&member.span.name));
    html! {
        span .label title=(format!("{operation} · {service}")) {
            span .operation {
                @if !start.is_empty() { span .start { (text::cut(start, 160)) } }
                span .end { (text::cut(end, 160)) }
            }
            " "
            span .service { (service) }
        }
    }
}

fn position_note(position: Position) -> Option<&'static str> {
    match position {
        Position::Root | Position::Child => None,
        Position::MissingParent => Some("parent missing"),
        Position::Cycle => Some("cycle"),
    }
}

/// Returns whether the span was moved, as [`correct_clock_skew`](spoor_traces::tree::correct_clock_skew)
/// reports in a warning.
fn is_clock_adjusted(member: &Member) -> bool {
    let is_about_clock =
        |text: &&str| text.starts_with("Clock skew") || text.starts_with("Implausible start");
    member.warnings().iter().any(is_about_clock)
}

fn bar(tree: &Tree, row: &Row, class: &str) -> Markup {
    let total = tree.end() - tree.start();
    let at = |time: u64| text::percent_along(time - tree.start(), total);
    let (start, end) = (at(row.member.start()), at(row.member.end()));
    let width = (end - start).max(0.25);
    // The label is placed where there is room: after the bar, before it, or in it.
    let (label_x, shift, anchor, inside) = match (start, end) {
        (_, end) if end < 82.0 => (end.max(start + width), 6, "start", ""),
        (start, _) if start > 18.0 => (start, -6, "end", ""),
        (_, end) => (end, -6, "end", "inside"),
    };
    html! {
        svg .bar width="100%" height="26" aria-hidden="true" {
            @for line in ["25%", "50%", "75%"] {
                line .grid x1=(line) x2=(line) y1="0" y2="26" {}
            }
            // The script zooms to a part of the time with the exact positions.
            rect class=(format!("span {class}")) x=(share(start.min(99.75))) width=(share(width))
                y="6" height="14" rx="2" data-from=(position(start)) data-to=(position(end)) {}
            @for segment in &row.critical {
                @let (start, end) = (at(segment.start), at(segment.end));
                rect .critical x=(share(start)) width=(share((end - start).max(0.25)))
                    y="21" height="3" data-from=(position(start)) data-to=(position(end)) {}
            }
            text class=(inside) x=(share(label_x)) dx=(shift) y="17" text-anchor=(anchor) {
                @if row.member.is_error() { tspan .cross { "✕ " } }
                (text::duration(row.member.duration()))
            }
        }
    }
}

/// A position in percent, exact enough for a zoom to a thousandth.
fn position(percent: f64) -> String {
    format!("{percent:.5}")
}

fn share(percent: f64) -> String {
    format!("{percent:.3}%")
}
