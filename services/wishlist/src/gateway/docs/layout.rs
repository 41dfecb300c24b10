//! The layout of the picture.

use std::collections::BTreeMap;

use super::{mesh::Mesh, visible::visible};

pub(super) const BOX_HEIGHT: u32 = 44;
const ROW: u32 = 76;
const GAP: u32 = 120;
const MARGIN: u32 = 24;
/// A letter's width, generously.
const LETTER: u32 = 9;
/// The most characters shown of a name.
pub(super) const MAX_LETTERS: usize = 28;

/// From left to right and from top to bottom.
pub(super) type Point = (u32, u32);

/// An item with a place: a service, or an arrow on its way past other services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop<'a> {
    Service(&'a str),
    Passing(&'a str, &'a str, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    column: u32,
    /// In half rows, from the top.
    half_row: u32,
}

/// The places of a mesh's services, and the ways of its arrows.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    places: BTreeMap<Stop<'a>, Place>,
    ways: BTreeMap<(&'a str, &'a str), Vec<Stop<'a>>>,
    pub(super) box_width: u32,
    columns: u32,
    half_rows: u32,
}

impl<'a> Layout<'a> {
    pub(super) fn of(mesh: &'a Mesh) -> Self {
        let columns = columns(mesh);
        let ways = ways(mesh, &columns);
        let count = columns.values().max().map_or(0, |last| last + 1);
        let mut stops: Vec<Vec<Stop<'a>>> = vec![Vec::new(); count as usize];
        let services = columns
            .iter()
            .map(|(name, column)| (Stop::Service(name), *column));
        let passing = ways.values().flatten().filter_map(|stop| match stop {
            Stop::Passing(.., column) => Some((*stop, *column)),
            Stop::Service(_) => None,
        });
        for (stop, column) in services.chain(passing) {
            if let Some(column) = stops.get_mut(column as usize) {
                column.push(stop);
            }
        }
        let most = stops.iter().map(Vec::len).max().unwrap_or(0);
        let longest = mesh
            .services
            .keys()
            .map(|name| visible(name).chars().count())
            .max();
        let letters = longest.unwrap_or(0).min(MAX_LETTERS);
        Self {
            places: places(stops, most, &ways),
            ways,
            box_width: number(letters) * LETTER + 32,
            columns: count,
            half_rows: number(most * 2),
        }
    }

    /// The picture's width and height.
    pub(super) fn size(&self) -> Point {
        let gaps = self.columns.saturating_sub(1) * GAP;
        let width = self.columns * self.box_width + gaps + 2 * MARGIN;
        (width, self.half_rows * ROW / 2 + 2 * MARGIN)
    }

    /// The left upper corner of a service's box.
    pub(super) fn corner(&self, name: &str) -> Option<Point> {
        let (x, y) = self.left(&Stop::Service(name))?;
        Some((x, y - BOX_HEIGHT / 2))
    }

    /// The way of an arrow: pairs of points, straight between one pair and the next within a
    /// column, and bent from one column to another.
    pub(super) fn way(&self, from: &str, to: &str) -> Option<Vec<(Point, Point)>> {
        let stops = self.ways.get(&(from, to))?;
        let bends = stops.windows(2).map(|pair| match pair {
            [from, to] => {
                let (x, y) = self.left(from)?;
                Some(((x + self.box_width, y), self.left(to)?))
            }
            _ => None,
        });
        bends.collect()
    }

    /// The middle of a place's left side.
    fn left(&self, stop: &Stop<'_>) -> Option<Point> {
        let place = self.places.get(stop)?;
        let x = MARGIN + place.column * (self.box_width + GAP);
        Some((x, MARGIN + place.half_row * ROW / 2 + ROW / 2))
    }
}

/// Column by column, each stop beside those from which arrows come to it, so that they seldom
/// cross.
fn places<'a>(
    columns: Vec<Vec<Stop<'a>>>,
    most: usize,
    ways: &BTreeMap<(&'a str, &'a str), Vec<Stop<'a>>>,
) -> BTreeMap<Stop<'a>, Place> {
    let before = before(ways);
    let mut places: BTreeMap<Stop<'a>, Place> = BTreeMap::new();
    for (column, mut stops) in (0..).zip(columns) {
        stops.sort_by_cached_key(|stop| (beside(stop, &places, &before), *stop));
        let top = most - stops.len();
        for (index, stop) in stops.into_iter().enumerate() {
            let half_row = number(top + index * 2);
            places.insert(stop, Place { column, half_row });
        }
    }
    places
}

/// The stops from which arrows come to each.
fn before<'a>(
    ways: &BTreeMap<(&'a str, &'a str), Vec<Stop<'a>>>,
) -> BTreeMap<Stop<'a>, Vec<Stop<'a>>> {
    let mut all: BTreeMap<Stop<'a>, Vec<Stop<'a>>> = BTreeMap::new();
    for step in ways.values().flat_map(|way| way.windows(2)) {
        if let [before, at] = step {
            all.entry(*at).or_default().push(*before);
        }
    }
    all
}

fn beside(
    stop: &Stop<'_>,
    places: &BTreeMap<Stop<'_>, Place>,
    before: &BTreeMap<Stop<'_>, Vec<Stop<'_>>>,
) -> u32 {
    let before = before.get(stop).into_iter().flatten();
    let placed = before.filter_map(|stop| places.get(stop));
    let rows: Vec<u32> = placed.map(|place| place.half_row).collect();
    let sum: u32 = rows.iter().sum();
    sum.checked_div(number(rows.len())).unwrap_or(0)
}

fn ways<'a>(
    mesh: &'a Mesh,
    columns: &BTreeMap<&str, u32>,
) -> BTreeMap<(&'a str, &'a str), Vec<Stop<'a>>> {
    let column = |name: &str| columns.get(name).copied().unwrap_or(0);
    let way = |from: &'a str, to: &'a str| {
        let between = (column(from) + 1..column(to)).map(|at| Stop::Passing(from, to, at));
        let mut way = vec![Stop::Service(from)];
        way.extend(between);
        way.push(Stop::Service(to));
        ((from, to), way)
    };
    mesh.calls.keys().map(|(from, to)| way(from, to)).collect()
}

/// Each service one further right than all that call it, as far as they do not call each other
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
        for (_, callee) in calls.iter().filter(|(caller, _)| *caller == at) {
            if !reached.contains(callee) {
                reached.push(callee);
            }
        }
        next += 1;
    }
    false
}

/// Counts here are small: a mesh has a bounded number of services.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
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
        let expected = [("gateway", 0), ("offers", 1), ("wishlist", 2)];
        assert_eq!(columns(&mesh), expected.into());
    }

    #[test]
    fn an_arrow_goes_around_the_services_that_it_passes() {
        let mesh = mesh(&[("a", "b"), ("b", "c"), ("a", "c")]);
        let layout = Layout::of(&mesh);
        let passed = layout.corner("b").map(|(_, y)| y + BOX_HEIGHT / 2);
        let way = layout.way("a", "c").unwrap_or_default();
        assert_eq!(way.len(), 2);
        assert_ne!(Some(way[0].1.1), passed);
    }

    #[test]
    fn a_mesh_in_which_each_calls_all_that_follow_has_a_way_for_every_arrow() {
        let names: Vec<String> = (10..50).map(|index| format!("s{index}")).collect();
        let calls = names.iter().enumerate().flat_map(|(at, from)| {
            let callees = names.iter().skip(at + 1);
            callees.map(move |to| (from.as_str(), to.as_str()))
        });
        let mesh = mesh(&calls.collect::<Vec<_>>());
        let layout = Layout::of(&mesh);
        assert_eq!((mesh.calls.len(), layout.columns), (780, 40));
        let mut calls = mesh.calls.keys();
        assert!(calls.all(|(from, to)| layout.way(from, to).is_some()));
    }

    proptest! {
        #[test]
        fn boxes_are_inside_and_apart(calls in prop::collection::vec(("[a-h]", "[a-h]"), 0..60)) {
            let calls = calls.into_iter().map(|(from, to)| (from, to, 1));
            let mesh = Mesh::new(["z".to_owned()], calls);
            let layout = Layout::of(&mesh);
            let (width, height) = layout.size();
            let names = mesh.services.keys();
            let mut corners: Vec<_> = names.filter_map(|name| layout.corner(name)).collect();
            prop_assert_eq!(corners.len(), mesh.services.len());
            for (x, y) in &corners {
                prop_assert!(x + layout.box_width <= width && y + BOX_HEIGHT <= height);
            }
            corners.sort_unstable();
            corners.dedup();
            prop_assert_eq!(corners.len(), mesh.services.len());
            for (from, to) in mesh.calls.keys() {
                prop_assert!(layout.way(from, to).is_some());
            }
        }
    }
}
