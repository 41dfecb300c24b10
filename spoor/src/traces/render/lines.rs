//! The lines of a tree: one for each span, or one for a group of repeated siblings.

use spoor_traces::tree::{Group, Row, Tree};

use super::super::format::printable;

/// A line of the tree.
pub(super) struct Line<'a> {
    /// The rows that it shows; at least one.
    pub(super) rows: Vec<usize>,
    /// The first of them.
    pub(super) first: &'a Row,
    /// The group; none for a single span.
    pub(super) group: Option<&'a Group>,
    /// The number of spans below those of a group, which have no line.
    pub(super) below: usize,
    /// The number of those with an error.
    pub(super) errors_below: usize,
}

impl Line<'_> {
    /// The name of its span, or of each of its spans.
    pub(super) fn name(&self) -> String {
        printable(&self.first.member.span.name)
    }

    /// The number of its spans, as it follows the name; empty for a single one.
    pub(super) fn times(&self) -> String {
        let times = self.group.map(|group| format!(" × {}", group.count));
        times.unwrap_or_default()
    }

    /// The number of spans that it stands for.
    pub(super) fn spans(&self) -> usize {
        self.rows.len() + self.below
    }
}

/// The lines of a tree, top to bottom. The spans below a group have no line.
pub(super) fn lines<'a>(tree: &'a Tree, groups: &'a [Group]) -> Vec<Line<'a>> {
    let mut group_of: Vec<Option<usize>> = vec![None; tree.rows().len()];
    for (number, group) in groups.iter().enumerate() {
        for row in &group.rows {
            if let Some(of_row) = group_of.get_mut(*row) {
                *of_row = Some(number);
            }
        }
    }
    let mut lines: Vec<Line<'_>> = Vec::new();
    // The line that stands for each row. A parent comes before its children.
    let mut line_of: Vec<usize> = Vec::with_capacity(group_of.len());
    let mut line_of_group: Vec<Option<usize>> = vec![None; groups.len()];
    for (index, (row, number)) in tree.rows().iter().zip(group_of).enumerate() {
        let above = row.parent.and_then(|parent| line_of.get(parent).copied());
        if let Some(above) = above
            && let Some(line) = lines.get_mut(above)
            && line.group.is_some()
        {
            line.below += 1;
            line.errors_below += usize::from(row.member.is_error());
            line_of.push(above);
            continue;
        }
        let next = lines.len();
        let of_group = number.and_then(|number| line_of_group.get_mut(number));
        let line = of_group.map_or(next, |line| *line.get_or_insert(next));
        line_of.push(line);
        if line == next {
            let group = number.and_then(|number| groups.get(number));
            lines.push(Line {
                rows: group.map_or_else(|| vec![index], |group| group.rows.clone()),
                first: row,
                group,
                below: 0,
                errors_below: 0,
            });
        }
    }
    lines
}
