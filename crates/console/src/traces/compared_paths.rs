//! The calls of two traces side by side, and their largest differences as sentences.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::tree::{ComparedPath, PathTimes, TreeComparison};

use super::listed::display_name;
use crate::{palette::Palette, text};

/// The most rows of the table.
const MAX_PATHS: usize = 1_000;
/// The most sentences.
const MAX_SENTENCES: usize = 5;
/// The smallest difference that has a sentence, as a share of the longer trace.
const MIN_SHARE: f64 = 0.02;
/// The deepest level that is indented further than the one above it.
const MAX_INDENT_LEVELS: usize = 16;

/// The largest differences of self time, which add up to the difference of the traces if nothing
/// runs in parallel.
pub fn sentences(comparison: &TreeComparison<'_>) -> Markup {
    let [first, second] = comparison.root_durations;
    let min = MIN_SHARE * first.max(second).as_secs_f64();
    let differences = comparison.paths.iter();
    let mut differences: Vec<&ComparedPath<'_>> = differences
        .filter(|path| path.self_difference().abs() > min)
        .collect();
    differences.sort_by(|a, b| {
        let (a, b) = (a.self_difference().abs(), b.self_difference().abs());
        b.total_cmp(&a)
    });
    let (longer, by) = match first > second {
        true => ("Trace A", first - second),
        false => ("Trace B", second - first),
    };
    html! {
        ul .findings {
            @if by.is_zero() {
                li { "Both traces take the same time." }
            } @else {
                li { (longer) " takes " (text::duration(by)) " longer." }
            }
            @for path in differences.iter().take(MAX_SENTENCES) { li { (sentence(path)) } }
            @if differences.is_empty() && !by.is_zero() {
                li { "No single call accounts for much of the difference." }
            }
        }
    }
}

fn sentence(path: &ComparedPath<'_>) -> Markup {
    let by = text::duration(length(path.self_difference()));
    let more = if path.self_difference() > 0.0 {
        "more"
    } else {
        "less"
    };
    html! {
        (text::cut(path.service, 80)) " " b { (text::cut(display_name(path.operation), 120)) }
        @match (path.first, path.second) {
            (Some(first), Some(second)) => {
                " itself takes " (by) " " (more) " in trace B: "
                (text::duration(second.self_time)) " instead of " (text::duration(first.self_time))
                @if first.count != second.count {
                    ", in " (text::count(second.count, "span")) " instead of " (text::grouped(first.count))
                }
                "."
            }
            (Some(times), None) => { (only(times, "A")) }
            (None, Some(times)) => { (only(times, "B")) }
            (None, None) => {}
        }
    }
}

fn only(times: PathTimes, trace: &str) -> Markup {
    html! {
        " occurs only in trace " (trace) ": " (text::count(times.count, "span"))
        ", whose own work takes " (text::duration(times.self_time)) "."
    }
}

/// The call paths in the order of the tree.
pub fn table(comparison: &TreeComparison<'_>, palette: &Palette) -> Markup {
    let largest = comparison.paths.iter().map(|path| path.difference().abs());
    let largest = largest.fold(0.0, f64::max);
    html! {
        div .scroll tabindex="0" role="region" aria-label="Calls of both traces" {
            table .statistics .compared {
                thead {
                    tr {
                        th scope="col" { "Call" }
                        @for heading in ["Spans A", "Spans B", "Total A", "Total B", "Self time A", "Self time B"] {
                            th scope="col" { (heading) }
                        }
                        th scope="col" { "Difference of totals" }
                    }
                }
                tbody {
                    @for path in comparison.paths.iter().take(MAX_PATHS) { (row(path, palette, largest)) }
                }
            }
        }
        @if comparison.paths.len() > MAX_PATHS {
            p .cut { (text::grouped(comparison.paths.len() - MAX_PATHS)) " more calls are not shown." }
        }
    }
}

fn row(path: &ComparedPath<'_>, palette: &Palette, largest: f64) -> Markup {
    let indent = path.depth.min(MAX_INDENT_LEVELS);
    let note = match (path.first, path.second) {
        (Some(_), None) => Some("only in A"),
        (None, Some(_)) => Some("only in B"),
        _ => None,
    };
    let times = [path.first, path.second];
    html! {
        tr {
            th scope="row" {
                span class=(format!("call i{indent}")) {
                    span class=(format!("dot {}", palette.class(path.service))) {} " "
                    (text::cut(display_name(path.operation), 160)) " "
                    span .service { (text::cut(path.service, 80)) }
                    @if let Some(note) = note { " " span .badge { (note) } }
                }
            }
            @for times in times { td { (cell(times, |it| text::grouped(it.count))) } }
            @for times in times { td { (cell(times, |it| text::duration(it.total))) } }
            @for times in times { td { (cell(times, |it| text::duration(it.self_time))) } }
            td { (difference(path.difference(), largest)) }
        }
    }
}

fn cell(times: Option<PathTimes>, show: impl Fn(PathTimes) -> String) -> String {
    times.map_or_else(|| "–".to_owned(), show)
}

/// A difference in seconds, as text and as a bar to the left or right of the middle.
fn difference(seconds: f64, largest: f64) -> Markup {
    let share = match largest > 0.0 {
        true => 50.0 * seconds.abs() / largest,
        false => 0.0,
    };
    let (sign, class, x) = if seconds > 0.0 {
        ("+", "slower", 50.0)
    } else if seconds < 0.0 {
        ("−", "faster", 50.0 - share)
    } else {
        ("", "same", 50.0)
    };
    html! {
        span class=(class) { (sign) (text::duration(length(seconds))) } " "
        svg .delta width="90" height="12" aria-hidden="true" {
            rect .track width="100%" height="12" {}
            rect class=(class) x=(format!("{x:.2}%")) width=(format!("{share:.2}%")) height="12" {}
            line x1="50%" x2="50%" y1="0" y2="12" {}
        }
    }
}

/// The length of a difference in seconds.
fn length(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default()
}
