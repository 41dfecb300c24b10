//! Tables in the style of kubectl.

use std::fmt;

use console::{Alignment, measure_text_width, pad_str};

/// The width of the gap after each cell, in terminal columns.
const GAP: usize = 3;

/// Rows below headings, with each column as wide as its widest cell.
pub struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Creates a table without rows.
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| String::from(*heading));
        Self {
            rows: vec![headings.collect()],
        }
    }

    /// Adds a row. An empty cell is shown as `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let dash_if_empty = |cell: String| match cell.as_str() {
            "" => "-".to_owned(),
            _ => cell,
        };
        self.rows
            .push(cells.into_iter().map(dash_if_empty).collect());
    }

    /// Removes these columns, one after the other, until the table fits a width.
    pub fn fit(&mut self, width: usize, least_important: &[&str]) {
        for heading in least_important {
            let widest = self.to_string().lines().map(measure_text_width).max();
            let mut headings = self.rows.first().into_iter().flatten();
            if let Some(column) = headings.position(|it| it == heading)
                && widest > Some(width)
            {
                for row in &mut self.rows {
                    row.remove(column);
                }
            }
        }
    }
}

/// The name of a service or operation; `None` means all that no policy names.
pub fn or_all_others(name: Option<&String>) -> String {
    name.map_or("(all others)", String::as_str).to_owned()
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|cell| measure_text_width(cell));
            widths.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            // Padded to a width in columns, since East Asian characters and emoji take two columns.
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line += &pad_str(cell, width + GAP, Alignment::Left, None);
            }
            // Trailing spaces would wrap in a narrow terminal and show up in diffs of saved output.
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        let mut table = TextTable::new(&["NAME", "AGE"]);
        table.row(["注文".into(), "5s".into()]);
        table.row(["cart".into(), "7s".into()]);
        assert_eq!(table.to_string(), "NAME   AGE\n注文   5s\ncart   7s\n");
    }

    #[test]
    fn narrow_table_drops_the_listed_columns() {
        let mut table = TextTable::new(&["ID", "AGE", "SPANS", "ROOT"]);
        table.row(["7".into(), "5s".into(), "3".into(), "GET /".into()]);
        table.fit(20, &["AGE", "SPANS"]);
        assert_eq!(table.to_string(), "ID   SPANS   ROOT\n7    3       GET /\n");
    }

    #[test]
    fn aligns_columns_and_marks_empty_cells() {
        let mut table = TextTable::new(&["NAME", "AGE"]);
        table.row(["service-a".into(), "5s".into()]);
        table.row(["b".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            "NAME        AGE\nservice-a   5s\nb           -\n"
        );
    }
}
