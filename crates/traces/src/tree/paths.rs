//! Call paths: the service and operation of a span, below those of its parents up to the root.
//! Spans with the same path do the same work.

use std::collections::HashMap;

use super::row::Row;

/// A call path. Its own service and operation are those of the spans at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallPath<'a> {
    /// The path without its end.
    pub(super) parent: Option<usize>,
    pub(super) depth: usize,
    pub(super) service: &'a str,
    pub(super) operation: &'a str,
}

/// The distinct call paths of one tree or of several, numbered from 0 in the order in which they
/// appear, a parent before its children.
#[derive(Debug, Default)]
pub(super) struct CallPaths<'a> {
    known: HashMap<(Option<usize>, &'a str, &'a str), usize>,
    paths: Vec<CallPath<'a>>,
}

impl<'a> CallPaths<'a> {
    /// Adds the paths of a tree's rows. Returns the path of each row.
    pub(super) fn insert(&mut self, rows: &'a [Row]) -> Vec<usize> {
        let mut of_rows: Vec<usize> = Vec::with_capacity(rows.len());
        // A parent comes before its children.
        for row in rows {
            let parent = row.parent.and_then(|parent| of_rows.get(parent).copied());
            let path = CallPath {
                parent,
                depth: row.depth,
                service: row.member.service(),
                operation: &row.member.span.name,
            };
            of_rows.push(self.number(path));
        }
        of_rows
    }

    fn number(&mut self, path: CallPath<'a>) -> usize {
        let next = self.paths.len();
        let key = (path.parent, path.service, path.operation);
        let number = *self.known.entry(key).or_insert(next);
        if number == next {
            self.paths.push(path);
        }
        number
    }

    /// The paths by number.
    pub(super) fn list(&self) -> &[CallPath<'a>] {
        &self.paths
    }

    /// The numbers in the order of a tree: each path is followed by those below it.
    pub(super) fn preorder(&self) -> Vec<usize> {
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); self.paths.len()];
        let mut roots = Vec::new();
        for (number, path) in self.paths.iter().enumerate() {
            match path.parent.and_then(|parent| below.get_mut(parent)) {
                Some(list) => list.push(number),
                None => roots.push(number),
            }
        }
        let mut ordered = Vec::with_capacity(self.paths.len());
        roots.reverse();
        let mut stack = roots;
        while let Some(number) = stack.pop() {
            ordered.push(number);
            let children = below.get(number).into_iter().flatten();
            stack.extend(children.rev());
        }
        ordered
    }
}
