//! The entries of a waterfall: its rows, with repeated siblings grouped, so that hundreds of equal
//! statements do not hide the rest of a trace.

use std::collections::HashMap;

use spoor_traces::tree::{Group, Tree};

/// A row, or repeated siblings with the rows below them.
#[derive(Clone, Debug)]
pub enum Entry {
    Row(usize),
    Group {
        group: Group,
        /// The siblings, each followed by the rows below it.
        rows: Vec<usize>,
    },
}

/// All entries of a trace.
#[derive(Clone, Debug)]
pub struct Entries {
    list: Vec<Entry>,
    /// The number of each row's entry.
    of_rows: Vec<usize>,
    groups: usize,
}

impl Entry {
    /// The first of its rows.
    pub fn first_row(&self) -> usize {
        match self {
            Self::Row(row) => *row,
            Self::Group { group, .. } => group.first,
        }
    }
}

impl Entries {
    /// The entries of a trace, in the order of their first rows. A group within another one is not
    /// grouped again, since opening the outer one shows its rows.
    pub fn new(tree: &Tree, is_grouped: bool) -> Self {
        let groups = match is_grouped {
            true => tree.groups(),
            false => Vec::new(),
        };
        let groups = groups.into_iter().map(|group| (group.first, group));
        let mut groups: HashMap<usize, Group> = groups.collect();
        let mut entries = Self {
            list: Vec::new(),
            of_rows: vec![UNASSIGNED; tree.rows().len()],
            groups: 0,
        };
        for row in 0..tree.rows().len() {
            if entries.of_rows.get(row) != Some(&UNASSIGNED) {
                continue;
            }
            match groups.remove(&row) {
                Some(group) => {
                    let rows = with_descendants(tree, &group.rows);
                    entries.assign(&rows);
                    entries.groups += 1;
                    entries.list.push(Entry::Group { group, rows });
                }
                None => {
                    entries.assign(&[row]);
                    entries.list.push(Entry::Row(row));
                }
            }
        }
        entries
    }

    /// The entries in order.
    pub fn list(&self) -> &[Entry] {
        &self.list
    }

    /// The number of a row's entry; 0 if there is no such row.
    pub fn number_of(&self, row: usize) -> usize {
        self.of_rows.get(row).copied().unwrap_or(0)
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Assigns rows to the next entry.
    fn assign(&mut self, rows: &[usize]) {
        let next = self.list.len();
        for row in rows {
            if let Some(entry) = self.of_rows.get_mut(*row) {
                *entry = next;
            }
        }
    }
}

/// The entry of a row that has none yet.
const UNASSIGNED: usize = usize::MAX;

/// Rows, each followed by those below it.
fn with_descendants(tree: &Tree, rows: &[usize]) -> Vec<usize> {
    let mut all = Vec::with_capacity(rows.len());
    for index in rows {
        let Some(row) = tree.rows().get(*index) else {
            continue;
        };
        all.push(*index);
        let after = tree.rows().iter().enumerate().skip(index + 1);
        let below = after.take_while(|(_, other)| other.depth > row.depth);
        all.extend(below.map(|(index, _)| index));
    }
    all
}
