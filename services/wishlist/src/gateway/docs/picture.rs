//! The mesh's picture: services as boxes, from left to right in the order of their calls.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::mesh::{Call, Mesh};

const HEIGHT: u32 = 44;
const ROW: u32 = 76;
const GAP: u32 = 120;
const MARGIN: u32 = 24;
/// A letter's width, generously.
const LETTER: u32 = 9;
/// Letters of a name that are shown.
const MOST_LETTERS: usize = 28;

/// Where a box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    column: u32,
    /// In half rows, from the top.
    half_row: u32,
}

/// The picture, which fits any page.
pub(super) fn svg(mesh: &Mesh) -> Markup {
    let layout = Layout::of(mesh);
    let (width, height) = layout.size();
    let title = format!(
        "{} services and the calls between them",
        mesh.services.len()
    );
    html! {
        svg.mesh role="img" aria-label=(title) viewBox={ "0 0 " (width) " " (height) }
            width=(width) height=(height) xmlns="http://www.w3.org/2000/svg" {
            defs {
                (marker("arrow"))
                (marker("arrow-failed"))
            }
            @for ((from, to), call) in &mesh.calls { (layout.arrow(from, to, call)) }
            @for (name, service) in &mesh.services { (layout.service(name, service.failed)) }
        }
    }
}

fn marker(id: &str) -> Markup {
    html! {
        marker id=(id) viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
            orient="auto-start-reverse" {
            path .(id) d="M0 0 10 5 0 10z" {}
        }
    }
}

struct Layout<'a> {
    places: BTreeMap<&'a str, Place>,
    box_width: u32,
    columns: u32,
    half_rows: u32,
}

impl<'a> Layout<'a> {
    fn of(mesh: &'a Mesh) -> Self {
        let columns = columns(mesh);
        let count = columns.values().max().map_or(0, |last| last + 1);
        let mut rows: Vec<Vec<&str>> = vec![Vec::new(); count as usize];
        for (name, column) in &columns {
            if let Some(column) = rows.get_mut(*column as usize) {
                column.push(name);
            }
        }
        let most = rows.iter().map(Vec::len).max().unwrap_or(0);
        let half_rows = u32::try_from(most * 2).unwrap_or(u32::MAX);
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        for (column, mut names) in (0..).zip(rows) {
            names.sort_by_key(|name| (beside(mesh, &places, name), *name));
            let top = most - names.len();
            for (index, name) in names.into_iter().enumerate() {
                let half_row = u32::try_from(top + index * 2).unwrap_or(u32::MAX);
                places.insert(name, Place { column, half_row });
            }
        }
        let longest = mesh.services.keys().map(|name| name.chars().count()).max();
        let letters = longest.unwrap_or(0).min(MOST_LETTERS);
        Self {
            places,
            box_width: u32::try_from(letters).unwrap_or(0) * LETTER + 32,
            columns: count,
            half_rows,
        }
    }

    fn size(&self) -> (u32, u32) {
        let gaps = self.columns.saturating_sub(1) * GAP;
        let width = self.columns * self.box_width + gaps + 2 * MARGIN;
        (width, self.half_rows * ROW / 2 + 2 * MARGIN)
    }

    /// A box's left upper corner.
    fn corner(&self, name: &str) -> Option<(u32, u32)> {
        let place = self.places.get(name)?;
        let x = MARGIN + place.column * (self.box_width + GAP);
        let y = MARGIN + place.half_row * ROW / 2 + (ROW - HEIGHT) / 2;
        Some((x, y))
    }

    fn service(&self, name: &str, failed: bool) -> Markup {
        let Some((x, y)) = self.corner(name) else {
            return html! {};
        };
        let shown: String = name.chars().take(MOST_LETTERS).collect();
        let class = if failed { "service failed" } else { "service" };
        html! {
            g class=(class) {
                title { (name) @if failed { ": something in it has failed" } }
                rect x=(x) y=(y) width=(self.box_width) height=(HEIGHT) rx="8" {}
                text x=(x + self.box_width / 2) y=(y + HEIGHT / 2) { (shown) }
            }
        }
    }

    fn arrow(&self, from: &str, to: &str, call: &Call) -> Markup {
        let (Some(start), Some(end)) = (self.corner(from), self.corner(to)) else {
            return html! {};
        };
        let (start, end) = (
            (start.0 + self.box_width, start.1 + HEIGHT / 2),
            (end.0, end.1 + HEIGHT / 2),
        );
        let bend = GAP / 2;
        // Beside its end, where arrows that begin together have parted.
        let label = (end.0.saturating_sub(GAP * 2 / 5), (start.1 + 4 * end.1) / 5);
        let (class, marker) = if call.failed {
            ("call failed", "url(#arrow-failed)")
        } else {
            ("call", "url(#arrow)")
        };
        html! {
            g class=(class) {
                title { (from) " → " (to) ": " (call.count) @if call.failed { ", with errors" } }
                path d={
                    "M" (start.0) " " (start.1) "C" (start.0 + bend) " " (start.1) " "
                    (end.0.saturating_sub(bend)) " " (end.1) " " (end.0) " " (end.1)
                } marker-end=(marker) {}
                text x=(label.0) y=(label.1) { (call.count) }
            }
        }
    }
}

/// Each service one further right than all that call it, as far as they don't call each other
/// in a circle.
fn columns(mesh: &Mesh) -> BTreeMap<&str, u32> {
    let mut columns: BTreeMap<&str, u32> = mesh
        .services
        .keys()
        .map(|name| (name.as_str(), 0))
        .collect();
    let forward = without_circles(mesh);
    for _ in 0..mesh.services.len() {
        for (from, to) in &forward {
            let next = columns.get(from).map_or(0, |column| column + 1);
            if let Some(column) = columns.get_mut(to) {
                *column = (*column).max(next);
            }
        }
    }
    columns
}

/// The calls without those that lead back to who began.
fn without_circles(mesh: &Mesh) -> Vec<(&str, &str)> {
    let mut forward: Vec<(&str, &str)> = Vec::new();
    for (from, to) in mesh.calls.keys() {
        if !leads(&forward, to, from) {
            forward.push((from, to));
        }
    }
    forward
}

fn leads(calls: &[(&str, &str)], from: &str, to: &str) -> bool {
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(&at) = reached.get(next) {
        if at == to {
            return true;
        }
        let further = calls.iter().filter(|(caller, _)| *caller == at);
        for (_, callee) in further {
            if !reached.contains(callee) {
                reached.push(callee);
            }
        }
        next += 1;
    }
    false
}

/// The middle of those that call it, so that arrows seldom cross.
fn beside(mesh: &Mesh, places: &BTreeMap<&str, Place>, name: &str) -> u32 {
    let callers = mesh.calls.keys().filter(|(_, to)| to == name);
    let rows: Vec<u32> = callers
        .filter_map(|(from, _)| places.get(from.as_str()).map(|place| place.half_row))
        .collect();
    let sum: u32 = rows.iter().sum();
    u32::try_from(rows.len()).map_or(0, |count| sum.checked_div(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mesh(calls: &[(&str, &str)]) -> Mesh {
        let calls = calls
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned(), 1));
        Mesh::new([], calls)
    }

    #[test]
    fn who_is_called_is_further_right() {
        let mesh = mesh(&[
            ("gateway", "wishlist"),
            ("gateway", "offers"),
            ("offers", "wishlist"),
        ]);
        let columns = columns(&mesh);
        assert_eq!(
            columns,
            [("gateway", 0), ("offers", 1), ("wishlist", 2)].into()
        );
    }

    #[test]
    fn names_are_text() {
        let mesh = mesh(&[("<script>", "\" onload=\"x")]);
        let svg = svg(&mesh).into_string();
        assert!(
            !svg.contains("<script>") && !svg.contains("\" onload"),
            "{svg}"
        );
    }

    #[test]
    fn what_failed_is_marked() {
        let mut mesh = mesh(&[("a", "b")]);
        assert!(!svg(&mesh).into_string().contains("call failed"));
        mesh.fail("b", Some("a"));
        let svg = svg(&mesh).into_string();
        assert!(
            svg.contains("call failed") && svg.contains("service failed"),
            "{svg}"
        );
    }

    proptest! {
        #[test]
        fn no_two_boxes_share_a_place(calls in prop::collection::vec(("[a-h]", "[a-h]"), 0..40)) {
            let calls = calls.into_iter().map(|(from, to)| (from, to, 1));
            let mesh = Mesh::new(["z".to_owned()], calls);
            let layout = Layout::of(&mesh);
            let (width, height) = layout.size();
            let mut corners: Vec<_> = mesh.services.keys().filter_map(|name| layout.corner(name)).collect();
            prop_assert_eq!(corners.len(), mesh.services.len());
            for (x, y) in &corners {
                prop_assert!(x + layout.box_width <= width && y + HEIGHT <= height);
            }
            corners.sort_unstable();
            corners.dedup();
            prop_assert_eq!(corners.len(), mesh.services.len());
        }
    }
}
