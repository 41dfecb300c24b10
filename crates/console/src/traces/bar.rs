//! The bars of a waterfall: the time of a row, or of a group of rows.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::tree::{Group, Row, Tree};

use crate::text;

/// The shortest pause between two parts of a group that is drawn, in percent of the trace.
const MIN_PAUSE: f64 = 0.5;

/// The bar of a row, with its parts of the critical path.
pub fn bar(tree: &Tree, row: &Row, class: &str) -> Markup {
    let time = (row.member.start(), row.member.end());
    let critical = row.critical.iter();
    let critical = critical.map(|segment| (segment.start, segment.end));
    draw(&Bar {
        time: percent(tree, time),
        parts: Vec::new(),
        critical: critical.map(|it| percent(tree, it)).collect(),
        class,
        is_failed: row.member.is_error(),
        duration: row.member.duration(),
    })
}

/// The bar of a group: from the first start to the last end, with the periods in which at least one
/// of the spans ran.
pub fn group_bar(tree: &Tree, group: &Group, class: &str) -> Markup {
    let rows: Vec<&Row> = group
        .rows
        .iter()
        .filter_map(|row| tree.rows().get(*row))
        .collect();
    let times = rows
        .iter()
        .map(|row| (row.member.start(), row.member.end()));
    let segments = rows.iter().copied().flat_map(|row| row.critical.iter());
    let critical = segments.map(|segment| (segment.start, segment.end));
    let parts = merged(times.map(|it| percent(tree, it)).collect());
    let start = parts.first().map_or(0.0, |(start, _)| *start);
    let end = parts.last().map_or(0.0, |(_, end)| *end);
    draw(&Bar {
        time: (start, end),
        parts,
        critical: merged(critical.map(|it| percent(tree, it)).collect()),
        class,
        is_failed: group.errors > 0,
        duration: group.total,
    })
}

/// A bar to draw. Times are in percent of the trace.
struct Bar<'a> {
    time: (f64, f64),
    /// The parts of the time that are drawn; empty if it is one.
    parts: Vec<(f64, f64)>,
    critical: Vec<(f64, f64)>,
    class: &'a str,
    is_failed: bool,
    duration: Duration,
}

fn draw(bar: &Bar<'_>) -> Markup {
    let (start, end) = bar.time;
    let width = (end - start).max(0.25);
    let kind = if bar.parts.is_empty() { "" } else { "extent " };
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
            // The script zooms to a part of the time with the exact positions. The first rectangle has
            // the time of the label.
            rect class=(format!("{kind}span {}", bar.class)) x=(share(start.min(99.75))) width=(share(width))
                y="6" height="14" rx="2" data-from=(position(start)) data-to=(position(end)) {}
            @for (start, end) in &bar.parts {
                rect class=(format!("span {}", bar.class)) x=(share(start.min(99.75)))
                    width=(share((end - start).max(0.25)))
                    y="6" height="14" data-from=(position(*start)) data-to=(position(*end)) {}
            }
            @for (start, end) in &bar.critical {
                rect .critical x=(share(*start)) width=(share((end - start).max(0.25)))
                    y="21" height="3" data-from=(position(*start)) data-to=(position(*end)) {}
            }
            text class=(inside) x=(share(label_x)) dx=(shift) y="17" text-anchor=(anchor) {
                @if bar.is_failed { tspan .cross { "✕ " } }
                (text::duration(bar.duration))
            }
        }
    }
}

fn percent(tree: &Tree, (start, end): (u64, u64)) -> (f64, f64) {
    let total = tree.end() - tree.start();
    let at = |time: u64| text::percent_along(time - tree.start(), total);
    (at(start), at(end))
}

/// Periods in order of their start, without pauses that are too short to be seen. This also bounds
/// the number of periods.
fn merged(mut periods: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    periods.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (start, end) in periods {
        match merged.last_mut() {
            Some(last) if start < last.1 + MIN_PAUSE => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// A position in percent, exact enough for a zoom to a thousandth.
fn position(percent: f64) -> String {
    format!("{percent:.5}")
}

fn share(percent: f64) -> String {
    format!("{percent:.3}%")
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn short_pauses_are_not_drawn() {
        let periods = vec![(5.0, 6.0), (0.0, 2.0), (1.0, 1.5), (2.1, 3.0)];
        assert_eq!(merged(periods), [(0.0, 3.0), (5.0, 6.0)]);
    }
}
