//! A trace as text: the tree on the left, a bar for each span on the right.

use std::{fmt::Write, time::Duration};

use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};
use spoor_traces::tree::{Bottleneck, CriticalSegment, Row, Tree};

use crate::cli::pluralize;

use super::{
    format::{offset, printable, short_duration},
    notes,
};

/// The most spans shown of a trace.
const MAX_ROWS: usize = 400;
const MAX_NAME_WIDTH: usize = 44;
const MAX_SERVICE_WIDTH: usize = 20;
const MIN_BAR_WIDTH: usize = 10;
const MAX_BAR_WIDTH: usize = 80;
/// The width of everything except service, name and bar: the gaps, the duration, and the mark
/// after it.
const OTHER_WIDTH: usize = 28;

/// The properties of the terminal.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// The width of a line, in columns.
    pub columns: usize,
    /// True if colours are shown.
    pub colour: bool,
    /// True if longer lines, which a terminal would wrap, are truncated. Files and pipes get full
    /// lines.
    pub truncates: bool,
}

impl Canvas {
    /// The properties of standard output. Only a terminal has colours.
    pub fn terminal() -> Self {
        let term = Term::stdout();
        let columns = term
            // 120 columns where there is no terminal: wide enough for a log, and the same
            // everywhere.
            .size_checked()
            .map_or(120, |(_, columns)| usize::from(columns));
        Self {
            columns,
            colour: console::colors_enabled() && term.is_term(),
            truncates: term.is_term(),
        }
    }

    /// Truncates each line to the width.
    pub fn truncate(self, text: &str) -> String {
        if !self.truncates {
            return text.to_owned();
        }
        let short = |line| truncate_str(line, self.columns, "…").into_owned();
        text.split('\n').map(short).collect::<Vec<_>>().join("\n")
    }

    fn paint(self, style: Style, text: &str) -> String {
        style.force_styling(self.colour).apply_to(text).to_string()
    }
}

/// Draws a trace.
pub fn render(id: &str, tree: &Tree, canvas: Canvas) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{}", heading(id, tree, canvas));
    let bottleneck = tree.bottleneck();
    let slowest: &[usize] = match &bottleneck {
        Some(found) if found.is_dominant() => &found.rows,
        _ => &[],
    };
    let columns = Columns::of(tree, canvas);
    for (index, row) in tree.rows().iter().enumerate().take(MAX_ROWS) {
        // The rows of a bottleneck are in ascending order.
        let is_slowest = slowest.binary_search(&index).is_ok();
        let line = line(tree, row, &columns, is_slowest, canvas);
        let _ = writeln!(out, "{}", line.trim_end());
        for note in notes::of(tree, row) {
            let indent = columns.service + 4 + branch(row).chars().count();
            let line = canvas.truncate(&format!("{:indent$}{note}", ""));
            let _ = writeln!(out, "{}", canvas.paint(Style::new().dim(), &line));
        }
    }
    let left_out = tree.rows().len().saturating_sub(MAX_ROWS);
    if left_out > 0 {
        let _ = writeln!(out, "  … and {left_out} more spans");
    }
    let _ = writeln!(out, "  ━ on the critical path   ─ off it");
    // The bottleneck is the answer of lesson 2, so neither mark nor verdict may reveal it.
    if tree.is_exercise() {
        let _ = writeln!(
            out,
            "This trace belongs to an exercise, so its bottleneck is not shown."
        );
    }
    if let Some(text) = bottleneck.and_then(|found| verdict(tree, &found)) {
        let after = tree.time_after_root();
        if after > tree.critical_time() {
            let after = short_duration(after);
            let _ = writeln!(
                out,
                "Work goes on for {after} after the root span has ended. It is not on the critical \
                 path."
            );
        }
        // Not truncated, since the figures are at its end.
        let _ = writeln!(out, "{}", canvas.paint(Style::new().yellow().bold(), &text));
    }
    out
}

fn verdict(tree: &Tree, found: &Bottleneck) -> Option<String> {
    let row = tree.rows().get(*found.rows.first()?)?;
    let operation = match found.rows.len() {
        1 => printable(&row.member.span.name),
        times => format!("{times} × {}", printable(&row.member.span.name)),
    };
    let (service, percent) = (printable(row.member.service()), found.share * 100.0);
    let [time, all] = [found.time, tree.critical_time()].map(short_duration);
    let share = format!("{operation} in {service}, {time} of {all} ({percent:.0} %)");
    Some(if found.is_dominant() {
        format!("Bottleneck: {share}")
    } else {
        format!("No bottleneck: nothing dominates the critical path. The largest part is {share}")
    })
}

struct Columns {
    service: usize,
    name: usize,
    bar: usize,
}

impl Columns {
    fn of(tree: &Tree, canvas: Canvas) -> Self {
        let length = |text: &str| measure_text_width(&printable(text));
        let rows = || tree.rows().iter().take(MAX_ROWS);
        let widest = |measure: &dyn Fn(&Row) -> usize| rows().map(measure).max().unwrap_or(0);
        let service = widest(&|row| length(row.member.service())).min(MAX_SERVICE_WIDTH);
        // The bar gets what is left, and at least a minimum: names are cut before it disappears.
        let room = canvas.columns.saturating_sub(service + OTHER_WIDTH);
        let name = widest(&|row| row.depth * 2 + length(&row.member.span.name))
            .min(MAX_NAME_WIDTH)
            .min(room.saturating_sub(MIN_BAR_WIDTH));
        Self {
            service,
            name,
            bar: room
                .saturating_sub(name)
                .clamp(MIN_BAR_WIDTH, MAX_BAR_WIDTH),
        }
    }
}

fn heading(id: &str, tree: &Tree, canvas: Canvas) -> String {
    let errors = tree.errors();
    let spans = pluralize(tree.rows().len(), "span", "spans");
    let services = pluralize(tree.services().len(), "service", "services");
    let counts = format!("{}, {spans}, {services}", short_duration(tree.duration()));
    let mut heading = format!("trace {}  {counts}", canvas.paint(Style::new().bold(), id));
    if errors > 0 {
        let text = format!(", {}", pluralize(errors, "error", "errors"));
        heading += &canvas.paint(Style::new().red(), &text);
    }
    heading
}

fn line(tree: &Tree, row: &Row, columns: &Columns, slowest: bool, canvas: Canvas) -> String {
    let service = fit(&printable(row.member.service()), columns.service);
    let branch = branch(row);
    let room = columns.name.saturating_sub(measure_text_width(&branch));
    let name = format!("{branch}{}", shortened(&row.member.span.name, room));
    let name = fit(&name, columns.name);
    let (name_style, bar_style, mark) = match (row.member.is_error(), slowest) {
        (true, _) => (Style::new().red(), Style::new().red(), "  ✗ error"),
        (false, true) => (Style::new().yellow(), Style::new().yellow(), "  ◀ slowest"),
        (false, false) => (Style::new(), Style::new().cyan(), ""),
    };
    format!(
        "  {}  {}  {} {:>9}{}",
        canvas.paint(Style::new().dim(), &service),
        canvas.paint(name_style.clone(), &name),
        canvas.paint(bar_style, &bar(tree, row, columns.bar)),
        short_duration(row.member.duration()),
        canvas.paint(name_style, mark),
    )
}

fn branch(row: &Row) -> String {
    match row.depth {
        0 => String::new(),
        // Deep spans are not indented further, so that there is room for the name.
        depth => format!("{}└ ", "  ".repeat((depth - 1).min(MAX_NAME_WIDTH / 4))),
    }
}

/// One cell for each slice of the trace's time that the span touches.
fn bar(tree: &Tree, row: &Row, cells: usize) -> String {
    let at = |time: u64| cell(offset(tree, time), tree.duration(), cells);
    let (from, to) = (at(row.member.start()), at(row.member.end()));
    let critical = |at_cell: usize| {
        row.critical.iter().any(|CriticalSegment { start, end }| {
            (at(*start)..=at(*end).saturating_sub(1).max(at(*start))).contains(&at_cell)
        })
    };
    (0..cells)
        .map(|cell| {
            // A span shorter than a cell is still drawn, in the cell where it starts.
            let inside = (from..to).contains(&cell) || (from == to && cell == from.min(cells - 1));
            match (inside, critical(cell)) {
                (false, _) => ' ',
                (true, true) => '━',
                (true, false) => '─',
            }
        })
        .collect()
}

fn cell(offset: Duration, whole: Duration, cells: usize) -> usize {
    // The duration of a trace may be zero, and 0 / 0 is not a column.
    let share = offset.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
    ((share * cells as f64).round() as usize).min(cells)
}

/// Shortens a span's name before its last `/` first, since the package is the least useful part of
/// a gRPC method's name.
fn shortened(name: &str, width: usize) -> String {
    let name = printable(name);
    let excess = measure_text_width(&name).saturating_sub(width);
    match name.rsplit_once('/') {
        Some((path, method)) if excess > 0 && !path.is_empty() => {
            let kept = measure_text_width(path).saturating_sub(excess);
            // The ellipsis takes one column.
            let skipped = path.chars().count() - kept.saturating_sub(1).min(path.chars().count());
            let end: String = path.chars().skip(skipped).collect();
            format!("…{end}/{method}")
        }
        _ => name,
    }
}

/// Cuts or pads a text to a width in columns: wide characters take two.
fn fit(text: &str, width: usize) -> String {
    let text = truncate_str(text, width, "…");
    pad_str(&text, width, Alignment::Left, None).into_owned()
}

#[cfg(test)]
mod tests;
