//! The diagram: services as boxes, from left to right in the order of their calls.

use std::fmt::Write;

use maud::{Markup, html};

use crate::{
    layout::{BOX_HEIGHT, Layout, MAX_NAME_CHARS, Point},
    service_map::{Call, ServiceMap},
    visible::visible,
};

/// The distance from a box at which an arrow bends towards it.
const BEND: u32 = 60;

/// The page of a service, by its name.
type Link<'a> = &'a dyn Fn(&str) -> String;

/// Renders the diagram as SVG, which is scaled down if the page is narrower.
#[must_use]
pub fn svg(map: &ServiceMap) -> Markup {
    drawing(map, None)
}

/// Renders the diagram as SVG in which each service is a link.
#[must_use]
pub fn linked_svg(map: &ServiceMap, link: &dyn Fn(&str) -> String) -> Markup {
    drawing(map, Some(link))
}

fn drawing(map: &ServiceMap, link: Option<Link<'_>>) -> Markup {
    let layout = Layout::of(map);
    let (width, height) = layout.size();
    let title = format!(
        "Services ({}) and the calls between them",
        map.services.len()
    );
    // The contents of an image are hidden from screen readers, which need the links.
    let role = if link.is_some() { "group" } else { "img" };
    html! {
        svg.mesh role=(role) aria-label=(title) viewBox={ "0 0 " (width) " " (height) }
            width=(width) height=(height) xmlns="http://www.w3.org/2000/svg" {
            defs {
                (arrowhead("arrow"))
                (arrowhead("arrow-failed"))
            }
            @for ((from, to), call) in &map.calls {
                @if let Some(curves) = layout.edge(from, to) { (arrow(&curves, from, to, call)) }
            }
            @for (name, failed) in &map.services {
                @if let Some(corner) = layout.corner(name) {
                    @let drawn = service(corner, layout.box_width, name, *failed);
                    @if let Some(link) = link {
                        a href=(link(name)) { (drawn) }
                    } @else {
                        (drawn)
                    }
                }
            }
        }
    }
}

fn arrowhead(id: &str) -> Markup {
    html! {
        marker id=(id) viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
            orient="auto-start-reverse" {
            path .(id) d="M0 0 10 5 0 10z" {}
        }
    }
}

fn service((x, y): Point, width: u32, name: &str, failed: bool) -> Markup {
    let name = visible(name);
    let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
    html! {
        g.service.failed[failed] {
            title { (name) @if failed { ": with errors" } }
            rect x=(x) y=(y) width=(width) height=(BOX_HEIGHT) rx="8" {}
            text x=(x + width / 2) y=(y + BOX_HEIGHT / 2) { (shown) }
        }
    }
}

fn arrow(curves: &[(Point, Point)], from: &str, to: &str, call: &Call) -> Markup {
    let marker = if call.failed {
        "url(#arrow-failed)"
    } else {
        "url(#arrow)"
    };
    let (start, end) = curves.last().copied().unwrap_or_default();
    let middle = (start.0.midpoint(end.0), start.1.midpoint(end.1));
    html! {
        g.call.failed[call.failed] {
            title { (visible(from)) " → " (visible(to)) ": " (call.count) @if call.failed { ", with errors" } }
            path d=(path(curves)) marker-end=(marker) {}
            text x=(middle.0) y=(middle.1) { (call.count) }
        }
    }
}

fn path(curves: &[(Point, Point)]) -> String {
    let mut path = String::new();
    for (start, end) in curves {
        let begin = if path.is_empty() { 'M' } else { 'L' };
        let (out, into) = (start.0 + BEND, end.0.saturating_sub(BEND));
        // Writing to a string cannot fail.
        let _ = write!(
            path,
            "{begin}{} {}C{out} {} {into} {} {} {}",
            start.0, start.1, start.1, end.1, end.0, end.1
        );
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(from: &str, to: &str) -> ServiceMap {
        ServiceMap::new([], [(from.to_owned(), to.to_owned(), 3)])
    }

    #[test]
    fn names_are_escaped() {
        let svg = svg(&mesh("<script>", "\" onload=\"x")).into_string();
        assert!(
            !svg.contains("<script>") && !svg.contains("\" onload"),
            "{svg}"
        );
    }

    #[test]
    fn names_cannot_reverse_text() {
        let svg = svg(&mesh("gnp\u{202e}", "\u{1b}[31m")).into_string();
        assert!(!svg.contains(['\u{202e}', '\u{1b}']), "{svg}");
        assert!(svg.contains("gnp\\u{202e}"), "{svg}");
    }

    #[test]
    fn services_are_links_where_they_have_pages() {
        let map = mesh("a", "b");
        let linked = linked_svg(&map, &|name| format!("services/{name}")).into_string();
        assert!(
            linked.contains("<a href=\"services/a\"><g class=\"service\">"),
            "{linked}"
        );
        assert!(!svg(&map).into_string().contains("<a "));
    }

    #[test]
    fn drawing_does_not_depend_on_the_order_of_calls() {
        let call = |from: &str, to: &str| (from.to_owned(), to.to_owned(), 1);
        let mut calls = [
            call("a", "b"),
            call("b", "c"),
            call("c", "a"),
            call("b", "d"),
        ];
        let drawn = svg(&ServiceMap::new([], calls.clone())).into_string();
        calls.reverse();
        assert_eq!(svg(&ServiceMap::new([], calls)).into_string(), drawn);
    }

    #[test]
    fn failed_services_and_calls_are_marked() {
        let mut mesh = mesh("a", "b");
        assert!(!svg(&mesh).into_string().contains(" failed\""));
        mesh.mark_service_failed("b");
        mesh.mark_call_failed("a", "b");
        let svg = svg(&mesh).into_string();
        assert!(svg.contains("class=\"call failed\""), "{svg}");
        assert_eq!(svg.matches("class=\"service failed\"").count(), 1, "{svg}");
    }
}
