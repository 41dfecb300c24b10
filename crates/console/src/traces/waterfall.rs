//! The spans of a trace as bars over time, indented below their parents.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::{
    TraceId,
    tree::{Bottleneck, Group, Member, Position, Row, Tree},
};

use super::{
    bar::{bar, group_bar},
    details::{self, lateness},
    entries::{Entries, Entry},
    links::LinkedFrom,
    listed::display_name,
    minimap::minimap,
    tabs::Tab,
    tools::tools,
};
use crate::{layout::Site, palette::Palette, text};

/// The most rows on one page. A group is one of them.
const MAX_ROWS: usize = 1_000;
/// The most rows that a group opens to.
const MAX_GROUP_ROWS: usize = 200;
/// The most rows that all groups open to together, if each has more than [`MIN_GROUP_ROWS`].
const MAX_GROUPED_ROWS: usize = 2_000;
/// The number of rows that a group opens to in a trace with very many groups.
const MIN_GROUP_ROWS: usize = 2;
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
    /// The rows, with repeated siblings grouped unless all spans are shown.
    pub entries: Entries,
    pub shows_all: bool,
    pub tab: Tab,
    /// False for a trace from a file, which has only this page.
    pub is_stored: bool,
    /// The row at which the waterfall starts.
    pub from: usize,
}

impl View<'_> {
    /// A link to a row's details, on this page or on the one that shows it.
    pub fn link_to(&self, index: usize, row: &Row) -> String {
        let anchor = details::anchor(row);
        if !self.is_stored {
            return format!("#{anchor}");
        }
        let first = first_shown(self);
        let number = self.entries.number_of(index);
        if !self.is_shown_in(self.entries.list().get(number), index) {
            let path = format!("trace/{}?all=show&from={index}#{anchor}", self.id);
            return self.site.link(&path);
        }
        if self.tab == Tab::Waterfall && (first..first + MAX_ROWS).contains(&number) {
            return format!("#{anchor}");
        }
        format!("{}#{anchor}", self.page(number - number % MAX_ROWS))
    }

    /// A link to the page that starts with an entry.
    fn page(&self, entry: usize) -> String {
        let first = self.entries.list().get(entry).map_or(0, Entry::first_row);
        let all = if self.shows_all { "all=show&" } else { "" };
        let path = format!("trace/{}?{all}from={first}", self.id);
        self.site.link(&path)
    }

    /// Returns whether an entry shows a row, as a group does for its first rows.
    fn is_shown_in(&self, entry: Option<&Entry>, row: usize) -> bool {
        match entry {
            Some(Entry::Group { rows, .. }) => {
                let mut shown = rows.iter().take(self.max_group_rows());
                shown.any(|it| *it == row)
            }
            _ => true,
        }
    }

    /// The most rows that each group of this trace opens to.
    fn max_group_rows(&self) -> usize {
        let each = MAX_GROUPED_ROWS / self.entries.groups().max(1);
        each.clamp(MIN_GROUP_ROWS, MAX_GROUP_ROWS)
    }
}

/// The time axis and the rows that fit on a page, with links to the others.
pub fn waterfall(view: &View<'_>) -> Markup {
    let from = first_shown(view);
    let shown = view.entries.list().iter().skip(from).take(MAX_ROWS);
    let bottleneck = view.tree.bottleneck().filter(Bottleneck::is_dominant);
    let mut rows = Rows {
        view,
        slowest: bottleneck.map_or_else(Vec::new, |found| found.rows),
        size: 0,
    };
    let shown: Vec<Markup> = shown.map(|entry| rows.entry(entry)).collect();
    let next = from + shown.len();
    html! {
        (grouping(view))
        (tools())
        (minimap(view))
        section .waterfall aria-label="Spans" data-nanos=(view.tree.duration().as_nanos()) {
            (pages(view, from, next))
            (axis(view.tree.duration()))
            ol .rows { @for row in shown { (row) } }
            @if rows.size >= MAX_PAGE_BYTES {
                p .cut {
                    "The details of the remaining spans are not shown, since this page is already large; "
                    "the JSON has all of them."
                }
            }
            (pages(view, from, next))
        }
    }
}

/// The number of the requested row's entry, or of the first one if there is no such row.
fn first_shown(view: &View<'_>) -> usize {
    view.entries.number_of(view.from)
}

/// The switch between groups and all spans; nothing if there are no repeated siblings.
fn grouping(view: &View<'_>) -> Markup {
    if !view.is_stored {
        return html! {};
    }
    let groups = view.entries.groups();
    let link = |query: &str| view.site.link(&format!("trace/{}{query}", view.id));
    html! {
        @if view.shows_all {
            p .grouping { "All spans are shown. " a href=(link("")) { "Group repeated spans" } }
        } @else if groups > 0 {
            p .grouping {
                "Repeated spans are in " (text::count(groups, "group")) ". "
                a href=(link("?all=show")) { "Show all spans" }
            }
        }
    }
}

/// The range of rows shown; nothing if all are shown.
fn pages(view: &View<'_>, from: usize, next: usize) -> Markup {
    let total = view.entries.list().len();
    let noun = if view.entries.groups() > 0 {
        "Rows "
    } else {
        "Spans "
    };
    html! {
        @if from > 0 || next < total {
            nav .pages aria-label="Parts of the trace" {
                span {
                    (noun) (text::grouped(from + 1)) "–" (text::grouped(next))
                    " of " (text::grouped(total)) ", in the order of the tree"
                }
                @if view.is_stored && from > 0 {
                    a .button .quiet href=(view.page(from.saturating_sub(MAX_ROWS))) { "Previous" }
                }
                @if view.is_stored && next < total { a .button .quiet href=(view.page(next)) { "Next" } }
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

/// The rows of a page, as they are written.
struct Rows<'v, 'a> {
    view: &'v View<'a>,
    /// The rows of the bottleneck, sorted.
    slowest: Vec<usize>,
    /// The bytes written so far.
    size: usize,
}

impl Rows<'_, '_> {
    fn entry(&mut self, entry: &Entry) -> Markup {
        match entry {
            Entry::Row(row) => self.row(*row),
            Entry::Group { group, rows } => self.group(group, rows),
        }
    }

    fn row(&mut self, index: usize) -> Markup {
        let view = self.view;
        let rows = view.tree.rows();
        let Some(row) = rows.get(index) else {
            return html! {};
        };
        let next = rows.get(index + 1);
        let shape = Shape {
            is_slowest: self.is_slowest(index),
            has_children: next.is_some_and(|next| next.depth > row.depth),
            with_details: self.size < MAX_PAGE_BYTES,
        };
        let item = item(view, row, shape);
        self.size += item.0.len();
        item
    }

    /// One row for repeated siblings, which opens to them.
    fn group(&mut self, group: &Group, rows: &[usize]) -> Markup {
        let view = self.view;
        let Some(first) = view.tree.rows().get(group.first) else {
            return html! {};
        };
        let is_slowest = group.rows.iter().any(|row| self.is_slowest(*row));
        let max_rows = view.max_group_rows();
        let shown: Vec<Markup> = rows
            .iter()
            .take(max_rows)
            .map(|row| self.row(*row))
            .collect();
        let all = format!("trace/{}?all=show&from={}", view.id, group.first);
        html! {
            li .group .failed[group.errors > 0] aria-level=(first.depth + 1) data-depth=(first.depth) {
                details {
                    (group_summary(view, group, first, is_slowest))
                    ol .rows .members {
                        @for row in shown { (row) }
                    }
                    @if rows.len() > max_rows {
                        p .cut {
                            (text::grouped(rows.len() - max_rows)) " more are not shown here. "
                            @if view.is_stored { a href=(view.site.link(&all)) { "Show all spans" } }
                        }
                    }
                }
            }
        }
    }

    fn is_slowest(&self, row: usize) -> bool {
        self.slowest.binary_search(&row).is_ok()
    }
}

fn group_summary(view: &View<'_>, group: &Group, first: &Row, is_slowest: bool) -> Markup {
    let class = view.palette.class(first.member.service());
    let indent = first.depth.min(MAX_INDENT_LEVELS);
    let total = text::duration(group.total);
    html! {
        summary {
            span class=(format!("name i{indent}")) {
                span class=(format!("dot {class}")) {}
                (label(&first.member))
                span .times title=(format!("{} of the trace's time", text::duration(group.wall))) {
                    "× " (text::grouped(group.count)) ", " (total) " in total"
                }
                @if group.errors > 0 { span .badge .error { (text::count(group.errors, "error")) } }
                @if is_slowest { span .badge .slowest { "bottleneck" } }
            }
            (group_bar(view.tree, group, &class))
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
