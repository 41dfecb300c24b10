//! The flame graph: calls merged by their path, each as wide as the time spent in it.

use std::time::Duration;

use maud::{Markup, html};
use spoor_traces::{
    query::parameters::nanos,
    tree::{FlameFrame, FlameGraph},
};

use super::{listed::display_name, waterfall::View};
use crate::text;

/// The most levels that are drawn; those below are shown by selecting a frame.
const MAX_LEVELS: usize = 60;
/// The narrowest frame that is drawn, in percent of the width.
const MIN_WIDTH: f64 = 0.1;
/// The most frames above the selected one that are linked.
const MAX_PARENTS: usize = 40;
/// The height of a level, in pixels.
const LEVEL_HEIGHT: usize = 24;

/// The graph, or the part of it below a frame.
pub fn flame(view: &View<'_>, selected: Option<usize>) -> Markup {
    let graph = view.tree.flame_graph();
    let base = selected.and_then(|number| graph.frames.get(number).map(|frame| (number, frame)));
    let drawn = drawn(&graph, base);
    let levels = drawn.iter().map(|it| it.level + 1).max().unwrap_or(0);
    html! {
        (parents(view, &graph, base))
        @if drawn.is_empty() {
            p .soft { "No time was measured in these spans." }
        } @else {
            svg .flame width="100%" height=(levels * LEVEL_HEIGHT) role="group" aria-label="Flame graph" {
                @for frame in &drawn { (frame_link(view, &graph, frame)) }
            }
        }
        p .soft {
            "A frame is as wide as the self time of its spans and of those below it. Select a frame to see "
            "only that part; frames that are too narrow or too deep are left out. The same figures are in the "
            a href=(view.site.link(&format!("trace/{}?view=operations", view.id))) { "table of operations" } "."
        }
    }
}

/// A frame at its place. Its position and width are in percent.
struct Drawn<'g> {
    number: usize,
    frame: &'g FlameFrame<'g>,
    level: usize,
    x: f64,
    width: f64,
}

/// The frames that can be seen: those below the selected one, and that one.
fn drawn<'g>(graph: &'g FlameGraph<'g>, base: Option<(usize, &FlameFrame<'_>)>) -> Vec<Drawn<'g>> {
    let (start, width, depth) = base.map_or((Duration::ZERO, graph.width, 0), |(_, frame)| {
        (frame.start, frame.width, frame.depth)
    });
    let base = base.map(|(number, _)| number);
    let mut is_inside: Vec<bool> = Vec::with_capacity(graph.frames.len());
    let mut drawn = Vec::new();
    for (number, frame) in graph.frames.iter().enumerate() {
        // A parent comes before its children.
        let parent = frame
            .parent
            .and_then(|parent| is_inside.get(parent).copied());
        let inside = base.is_none_or(|base| base == number) || parent.unwrap_or(false);
        is_inside.push(inside);
        let share = text::percent_along(nanos(frame.width), nanos(width));
        let level = frame.depth.saturating_sub(depth);
        if inside && share >= MIN_WIDTH && level < MAX_LEVELS {
            let before = frame.start.saturating_sub(start);
            drawn.push(Drawn {
                number,
                frame,
                level,
                x: text::percent_along(nanos(before), nanos(width)),
                width: share,
            });
        }
    }
    drawn
}

/// A frame, which links to the graph below it.
fn frame_link(view: &View<'_>, graph: &FlameGraph<'_>, drawn: &Drawn<'_>) -> Markup {
    let frame = drawn.frame;
    let (name, service) = names(frame);
    let class = frame
        .work
        .map_or_else(String::new, |(service, _)| view.palette.class(service));
    let share = text::percent(frame.width, graph.width);
    let title = format!(
        "{name}{service}: {}, {}, {share} of all self time",
        text::count(frame.count, "span"),
        text::duration(frame.width),
    );
    html! {
        a href=(frame_path(view, drawn.number)) aria-label=(title) {
            // An inner picture, since it clips its text.
            svg x=(format!("{:.3}%", drawn.x)) y=(drawn.level * LEVEL_HEIGHT)
                width=(format!("{:.3}%", drawn.width)) height=(LEVEL_HEIGHT) {
                title { (title) @if frame.errors > 0 { ", " (text::count(frame.errors, "error")) } }
                rect class=(format!("frame {class}")) width="100%" height=(LEVEL_HEIGHT - 1) {}
                text x="5" y="16" {
                    @if frame.errors > 0 { tspan .cross { "✕ " } }
                    (name)
                }
            }
        }
    }
}

/// The path from the whole graph to the selected frame.
fn parents(
    view: &View<'_>,
    graph: &FlameGraph<'_>,
    base: Option<(usize, &FlameFrame<'_>)>,
) -> Markup {
    let Some((_, base)) = base else {
        return html! {};
    };
    let mut above = Vec::new();
    let mut parent = base.parent;
    while let Some(number) = parent {
        let Some(frame) = graph.frames.get(number) else {
            break;
        };
        if above.len() < MAX_PARENTS {
            above.push((number, frame));
        }
        parent = frame.parent;
    }
    html! {
        nav .path aria-label="Frames above" {
            a href=(view.site.link(&format!("trace/{}?view=flame", view.id))) { "Whole trace" }
            @for (number, frame) in above.iter().rev() {
                " › " a href=(frame_path(view, *number)) { (names(frame).0) }
            }
            " › " b { (names(base).0) }
        }
    }
}

fn frame_path(view: &View<'_>, number: usize) -> String {
    let path = format!("trace/{}?view=flame&frame={number}", view.id);
    view.site.link(&path)
}

/// The operation, and the service after a separator.
fn names(frame: &FlameFrame<'_>) -> (String, String) {
    match frame.work {
        Some((service, operation)) => (
            text::cut(display_name(operation), 120),
            format!(" · {}", text::cut(service, 60)),
        ),
        None => ("(others)".to_owned(), String::new()),
    }
}
