//! The layout of the diagram, by the usual steps for layered graphs: break cycles, assign columns, add
//! dummy nodes to long edges, and order each column so that edges seldom cross (Sugiyama, Tagawa, Toda
//! 1981).

use std::collections::{BTreeMap, BTreeSet};

use crate::{service_map::ServiceMap, visible::visible};

// All lengths are in units of the diagram, which are pixels unless the page is narrow.

pub(crate) const BOX_HEIGHT: u32 = 44;
const ROW_HEIGHT: u32 = 76;
const COLUMN_GAP: u32 = 120;
const MARGIN: u32 = 24;
/// The width of a character at the font size of the style sheet, rounded up.
const CHAR_WIDTH: u32 = 9;
/// The most characters shown of a name.
pub(crate) const MAX_NAME_CHARS: usize = 28;

/// A point's distance from the left and from the top.
pub(crate) type Point = (u32, u32);

/// An item with a position: a service, or a dummy node where an edge passes a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node<'a> {
    Service(&'a str),
    /// The caller, the callee and the column.
    Dummy(&'a str, &'a str, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    column: u32,
    /// The distance from the top in half rows, since columns are centred and one may have an odd number
    /// of rows more than another.
    half_row: u32,
}

/// The nodes along each edge, by caller and callee.
type Edges<'a> = BTreeMap<(&'a str, &'a str), Vec<Node<'a>>>;
type Positions<'a> = BTreeMap<Node<'a>, Position>;

/// The positions of all nodes, and the nodes along each edge.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    positions: Positions<'a>,
    edges: Edges<'a>,
    pub(crate) box_width: u32,
    columns: u32,
    half_rows: u32,
}

impl<'a> Layout<'a> {
    pub(crate) fn of(mesh: &'a ServiceMap) -> Self {
        let columns = columns(mesh);
        let edges = edges(mesh, &columns);
        let mut nodes: BTreeMap<u32, Vec<Node<'a>>> = BTreeMap::new();
        let services = columns
            .iter()
            .map(|(name, column)| (Node::Service(name), *column));
        let dummies = edges.values().flatten().filter_map(|node| match node {
            Node::Dummy(.., column) => Some((*node, *column)),
            Node::Service(_) => None,
        });
        for (node, column) in services.chain(dummies) {
            nodes.entry(column).or_default().push(node);
        }
        let count = nodes.len();
        let max_rows = nodes.values().map(Vec::len).max().unwrap_or(0);
        let names = mesh.services.keys();
        let lengths = names.map(|name| visible(name).chars().count());
        let name_chars = lengths.max().unwrap_or(0).min(MAX_NAME_CHARS);
        Self {
            positions: positions(nodes, max_rows, &edges),
            edges,
            box_width: number(name_chars) * CHAR_WIDTH + 32,
            columns: number(count),
            half_rows: number(max_rows * 2),
        }
    }

    /// The diagram's width and height.
    pub(crate) fn size(&self) -> Point {
        let gaps = self.columns.saturating_sub(1) * COLUMN_GAP;
        let width = self.columns * self.box_width + gaps + 2 * MARGIN;
        (width, self.half_rows * ROW_HEIGHT / 2 + 2 * MARGIN)
    }

    /// The upper left corner of a service's box.
    pub(crate) fn corner(&self, name: &str) -> Option<Point> {
        let (x, y) = self.left(&Node::Service(name))?;
        Some((x, y - BOX_HEIGHT / 2))
    }

    /// The curves of an edge, each from one column to the next, with straight lines between them.
    pub(crate) fn edge(&self, from: &str, to: &str) -> Option<Vec<(Point, Point)>> {
        let nodes = self.edges.get(&(from, to))?;
        let curves = nodes.windows(2).map(|pair| match pair {
            [from, to] => {
                let (x, y) = self.left(from)?;
                Some(((x + self.box_width, y), self.left(to)?))
            }
            _ => None,
        });
        curves.collect()
    }

    /// The middle of a node's left side.
    fn left(&self, node: &Node<'_>) -> Option<Point> {
        let position = self.positions.get(node)?;
        let x = MARGIN + position.column * (self.box_width + COLUMN_GAP);
        Some((
            x,
            MARGIN + position.half_row * ROW_HEIGHT / 2 + ROW_HEIGHT / 2,
        ))
    }
}

/// Orders each column by the mean row of each node's predecessors, so that edges seldom cross.
fn positions<'a>(
    columns: BTreeMap<u32, Vec<Node<'a>>>,
    max_rows: usize,
    edges: &Edges<'a>,
) -> Positions<'a> {
    let predecessors = predecessors(edges);
    let mut positions = Positions::new();
    for (column, mut nodes) in columns {
        nodes.sort_by_cached_key(|node| {
            (mean_predecessor_row(node, &positions, &predecessors), *node)
        });
        let top = max_rows - nodes.len();
        for (index, node) in nodes.into_iter().enumerate() {
            let half_row = number(top + index * 2);
            positions.insert(node, Position { column, half_row });
        }
    }
    positions
}

/// The nodes before each node on an edge.
fn predecessors<'a>(edges: &Edges<'a>) -> BTreeMap<Node<'a>, Vec<Node<'a>>> {
    let mut all: BTreeMap<Node<'a>, Vec<Node<'a>>> = BTreeMap::new();
    for step in edges.values().flat_map(|path| path.windows(2)) {
        if let [from, to] = step {
            all.entry(*to).or_default().push(*from);
        }
    }
    all
}

fn mean_predecessor_row(
    node: &Node<'_>,
    positions: &Positions<'_>,
    predecessors: &BTreeMap<Node<'_>, Vec<Node<'_>>>,
) -> u32 {
    let predecessors = predecessors.get(node).into_iter().flatten();
    let placed = predecessors.filter_map(|node| positions.get(node));
    let rows: Vec<u32> = placed.map(|position| position.half_row).collect();
    let sum: u32 = rows.iter().sum();
    sum.checked_div(number(rows.len())).unwrap_or(0)
}

fn edges<'a>(mesh: &'a ServiceMap, columns: &BTreeMap<&str, u32>) -> Edges<'a> {
    let column = |name: &str| columns.get(name).copied().unwrap_or(0);
    let path = |from: &'a str, to: &'a str| {
        let between = (column(from) + 1..column(to)).map(|at| Node::Dummy(from, to, at));
        let mut path = vec![Node::Service(from)];
        path.extend(between);
        path.push(Node::Service(to));
        ((from, to), path)
    };
    mesh.calls.keys().map(|(from, to)| path(from, to)).collect()
}

/// Assigns columns: each service is to the right of all that call it, except within cycles.
fn columns(mesh: &ServiceMap) -> BTreeMap<&str, u32> {
    let mut columns: BTreeMap<&str, u32> = BTreeMap::new();
    let mut remaining: BTreeSet<&str> = mesh.services.keys().map(String::as_str).collect();
    while let Some(first) = remaining.first().copied() {
        // From callee to caller, as many steps as there are remaining services: this ends at a service
        // whose callers all have columns, or within a cycle, which has no such service.
        let next = remaining.iter().fold(first, |name, _| {
            callers(mesh, name)
                .find(|it| remaining.contains(it))
                .unwrap_or(name)
        });
        let rightmost = callers(mesh, next).filter_map(|it| columns.get(it)).max();
        columns.insert(next, rightmost.map_or(0, |column| column + 1));
        remaining.remove(next);
    }
    columns
}

fn callers<'a>(mesh: &'a ServiceMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let calls = mesh.calls.keys().filter(move |(_, to)| to == name);
    calls.map(|(from, _)| from.as_str())
}

/// Converts a count, which is small since the number of services is bounded.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mesh(calls: &[(&str, &str)]) -> ServiceMap {
        let calls = calls
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned(), 1));
        ServiceMap::new([], calls)
    }

    #[test]
    fn callees_are_further_right() {
        let mesh = mesh(&[
            ("gateway", "wishlist"),
            ("gateway", "offers"),
            ("offers", "wishlist"),
        ]);
        let expected = [("gateway", 0), ("offers", 1), ("wishlist", 2)];
        assert_eq!(columns(&mesh), expected.into());
    }

    #[test]
    fn a_long_edge_avoids_the_services_it_passes() {
        let mesh = mesh(&[("a", "b"), ("b", "c"), ("a", "c")]);
        let layout = Layout::of(&mesh);
        let passed = layout.corner("b").map(|(_, y)| y + BOX_HEIGHT / 2);
        let curves = layout.edge("a", "c").unwrap_or_default();
        assert_eq!(curves.len(), 2);
        assert_ne!(Some(curves[0].1.1), passed);
    }

    #[test]
    fn the_densest_mesh_has_a_path_for_every_edge() {
        let names: Vec<String> = (10..50).map(|index| format!("s{index}")).collect();
        let calls = names.iter().enumerate().flat_map(|(at, from)| {
            let callees = names.iter().skip(at + 1);
            callees.map(move |to| (from.as_str(), to.as_str()))
        });
        let mesh = mesh(&calls.collect::<Vec<_>>());
        let layout = Layout::of(&mesh);
        assert_eq!((mesh.calls.len(), layout.columns), (780, 40));
        let mut calls = mesh.calls.keys();
        assert!(calls.all(|(from, to)| layout.edge(from, to).is_some()));
    }

    proptest! {
        #[test]
        fn boxes_are_inside_and_do_not_overlap(calls in prop::collection::vec(("[a-h]", "[a-h]"), 0..60)) {
            let calls = calls.into_iter().map(|(from, to)| (from, to, 1));
            let mesh = ServiceMap::new(["z".to_owned()], calls);
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
                prop_assert!(layout.edge(from, to).is_some());
            }
        }
    }
}
