//! The spans of a trace as bars over time, indented below their parents.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::{
    TraceId,
    tree::{Bottleneck, Member, Position, Row, Tree},
};

use super::{details, listed::display_name};
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
            let with_details = size < MAX_PAGE_BYTES;
            // The rows of a bottleneck are sorted.
            let is_slowest = slowest.binary_search(&index).is_ok();
            let row = item(view, row, is_slowest, with_details);
            size += row.0.len();
            row
        })
        .collect();
    let next = from + shown.len();
    html! {
        section .waterfall aria-label="Spans" {
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

fn item(view: &View<'_>, row: &Row, is_slowest: bool, with_details: bool) -> Markup {
    let member = &row.member;
    let indent = row.depth.min(MAX_INDENT_LEVELS);
    let class = view.palette.class(member.service());
    html! {
        li .failed[member.is_error()] aria-level=(row.depth + 1) {
            details {
                summary {
                    span class=(format!("name i{indent}")) {
                        span class=(format!("dot {class}")) {}
                        @if row.depth > MAX_INDENT_LEVELS { span .soft { "+" (row.depth - MAX_INDENT_LEVELS) } }
                        (label(member))
                        @if member.is_error() { span .badge .error { "error" } }
                        @if is_slowest { span .badge .slowest { "bottleneck" } }
                        @if let Some(note) = position_note(row.position) { span .badge { (note) } }
                        span .hidden { ", " (text::duration(member.duration())) }
                    }
                    (bar(view.tree, row, &class))
                }
                @if with_details {
                    (details::details(view.site, view.tree, row))
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
            rect class=(format!("span {class}")) x=(share(start.min(99.75))) width=(share(width))
                y="6" height="14" rx="2" {}
            @for segment in &row.critical {
                rect .critical x=(share(at(segment.start)))
                    width=(share((at(segment.end) - at(segment.start)).max(0.25)))
                    y="21" height="3" {}
            }
            text class=(inside) x=(share(label_x)) dx=(shift) y="17" text-anchor=(anchor) {
                (text::duration(row.member.duration()))
            }
        }
    }
}

fn share(percent: f64) -> String {
    format!("{percent:.3}%")
}
