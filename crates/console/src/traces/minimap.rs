//! A small picture of the whole trace, on which a period can be selected.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::waterfall::View;
use crate::text;

/// The most lanes; a trace with more spans shares them.
const MAX_LANES: usize = 120;
/// The most spans that are drawn, spread evenly over the trace.
const MAX_SPANS: usize = 2_000;
/// The width of the picture in units of its own.
const WIDTH: f64 = 1_000.0;

/// The picture; empty for a single span.
pub fn minimap(view: &View<'_>) -> Markup {
    let lanes = view.tree.rows().len().min(MAX_LANES);
    if lanes < 2 {
        return html! {};
    }
    html! {
        div .minimap {
            svg viewBox=(format!("0 0 {WIDTH} {lanes}")) preserveAspectRatio="none" width="100%"
                height="56" aria-hidden="true" {
                @for (class, path) in paths(view, lanes) {
                    path class=(class) d=(path) {}
                }
                rect .selected x="0" y="0" width="0" height=(lanes) {}
            }
        }
    }
}

/// A path for each colour: drawn as one element, since a trace may have tens of thousands of spans.
fn paths(view: &View<'_>, lanes: usize) -> BTreeMap<String, String> {
    let rows = view.tree.rows();
    let (start, end) = (view.tree.start(), view.tree.end());
    let at = |time: u64| WIDTH / 100.0 * text::percent_along(time - start, end - start);
    let step = rows.len().div_ceil(MAX_SPANS).max(1);
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate().step_by(step) {
        let lane = index * lanes / rows.len();
        let (from, to) = (at(row.member.start()), at(row.member.end()));
        let line = format!("M{from:.1} {lane}.5h{:.1}", (to - from).max(1.0));
        let class = view.palette.class(row.member.service());
        paths.entry(class).or_default().push_str(&line);
    }
    paths
}
