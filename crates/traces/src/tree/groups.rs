//! Groups of repeated siblings: many calls of one span that do the same work, such as a query in a
//! loop.

use std::{collections::HashMap, time::Duration};

use super::{build::Tree, row::Row};

/// Siblings with the same service, operation and kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The first of its rows, which can stand for all.
    pub first: usize,
    /// Its rows, in ascending order. The spans below them do not belong to it.
    pub rows: Vec<usize>,
    /// The number of its rows.
    pub count: usize,
    /// The sum of their durations.
    pub total: Duration,
    /// The time in which at least one of them ran: less than the total if they overlap.
    pub wall: Duration,
    /// The number of them with an error.
    pub errors: usize,
}

impl Group {
    /// The fewest siblings that are a group. Fewer are as easy to read one by one.
    pub const MIN_SIBLINGS: usize = 5;
}

/// The properties that the siblings of a group share: row and ID of their parent, service,
/// operation and kind. The ID matters for spans whose parents are missing, which have no row above them.
type Key<'a> = (Option<usize>, Option<&'a [u8]>, &'a str, &'a str, i32);

impl Tree {
    /// The groups of repeated siblings, in the order of their first rows. Takes linear time.
    ///
    /// Siblings need not follow each other: a loop that alternates between two queries is two
    /// groups.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let mut known: HashMap<Key<'_>, usize> = HashMap::new();
        let mut siblings: Vec<Vec<usize>> = Vec::new();
        for (index, row) in self.rows().iter().enumerate() {
            let next = siblings.len();
            let number = *known.entry(key(row)).or_insert(next);
            match siblings.get_mut(number) {
                Some(rows) => rows.push(index),
                None => siblings.push(vec![index]),
            }
        }
        let groups = siblings.into_iter().filter_map(|rows| self.group(rows));
        groups.collect()
    }

    fn group(&self, rows: Vec<usize>) -> Option<Group> {
        let first = *rows.first()?;
        if rows.len() < Group::MIN_SIBLINGS {
            return None;
        }
        let (mut total, mut wall) = (Duration::ZERO, 0);
        let (mut reached, mut errors) = (0, 0);
        // Siblings are in order of their start.
        for row in rows.iter().filter_map(|row| self.rows().get(*row)) {
            let from = row.member.start().max(reached);
            reached = row.member.end().max(from);
            wall += reached - from;
            total += row.member.duration();
            errors += usize::from(row.member.is_error());
        }
        Some(Group {
            first,
            count: rows.len(),
            rows,
            total,
            wall: Duration::from_nanos(wall),
            errors,
        })
    }
}

fn key(row: &Row) -> Key<'_> {
    let span = &row.member.span;
    let parent = row.member.parent_id();
    (
        row.parent,
        parent,
        row.member.service(),
        span.name.as_str(),
        span.kind,
    )
}
