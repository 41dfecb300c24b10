//! The results as a scatter plot: duration over start time.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::query::parameters::nanos;

use super::listed::ListedTrace;
use crate::{layout::Site, text};

/// The plot; empty for fewer than two traces.
pub fn scatter(site: &Site, traces: &[ListedTrace]) -> Markup {
    if traces.len() < 2 {
        return html! {};
    }
    let first = traces.iter().map(|trace| trace.start).min().unwrap_or(0);
    let last = traces.iter().map(|trace| trace.start).max().unwrap_or(0);
    let longest = traces.iter().map(|trace| nanos(trace.duration)).max();
    let top = round_up(longest.unwrap_or(0));
    html! {
        figure .scatter {
            figcaption { "Duration over time; red points have errors, larger ones have more spans" }
            div .plot {
                div .scale aria-hidden="true" {
                    @for part in [4, 2, 0] {
                        span { (text::duration(Duration::from_nanos(top / 4 * part))) }
                    }
                }
                svg width="100%" height="170" role="group" aria-label="Traces by duration" {
                    @for line in ["4%", "50%", "96%"] {
                        line .grid x1="0" x2="100%" y1=(line) y2=(line) {}
                    }
                    @for trace in traces { (point(site, trace, first, last, top)) }
                }
            }
            div .ends aria-hidden="true" {
                span { (text::time_of_day(first)) }
                span { (text::time_of_day(last)) " UTC" }
            }
        }
    }
}

fn point(site: &Site, trace: &ListedTrace, first: u64, last: u64, top: u64) -> Markup {
    // A margin on each side, so that no point is cut off.
    let across = match last - first {
        0 => 50.0,
        range => 2.0 + 0.96 * text::percent_along(trace.start - first, range),
    };
    let up = 96.0 - 0.92 * text::percent_along(nanos(trace.duration), top);
    let radius = match trace.spans {
        0..4 => 4,
        4..16 => 5,
        16..128 => 7,
        _ => 9,
    };
    let class = if trace.errors > 0 { "failed" } else { "fine" };
    html! {
        a href=(site.link(&format!("trace/{}", trace.id))) {
            circle class=(class) cx=(format!("{across:.2}%")) cy=(format!("{up:.2}%")) r=(radius) {
                title {
                    (text::cut(&trace.service, 80)) " " (trace.operation)
                    ", " (text::duration(trace.duration)) ", " (text::count(trace.spans, "span"))
                    @if trace.errors > 0 { ", " (text::count(trace.errors, "error")) }
                }
            }
        }
    }
}

/// The next value that is 1, 2, 4 or 8 times a power of ten, so that its quarters are round.
fn round_up(nanos: u64) -> u64 {
    let mut magnitude = 100_u64;
    loop {
        for step in [1, 2, 4, 8] {
            let candidate = magnitude.saturating_mul(step);
            if candidate >= nanos {
                return candidate;
            }
        }
        magnitude = magnitude.saturating_mul(10);
    }
}
