//! A trace as text: the tree on the left, a bar for each span on the right.

mod lines;

use std::{fmt::Write, time::Duration};

use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};
use spoor_traces::tree::{Bottleneck, CriticalSegment, Row, Tree};

use crate::cli::pluralize;

use self::lines::{Line, lines};
use super::{
    format::{offset, printable, short_duration},
    notes,
};

/// The most lines shown of a trace, unless all spans are.
const MAX_LINES: usize = 400;
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

/// The parts of a trace to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// True for a line for each span, even for repeated siblings and in a long trace.
    pub all: bool,
    /// True for the attributes of spans and resources.
    pub attributes: bool,
}

/// Draws a trace.
pub fn render(id: &str, tree: &Tree, detail: Detail, canvas: Canvas) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{}", heading(id, tree, canvas));
    let bottleneck = tree.bottleneck();
    let slowest: &[usize] = match &bottleneck {
        Some(found) if found.is_dominant() => &found.rows,
        _ => &[],
    };
    let groups = if detail.all { vec![] } else { tree.groups() };
    let mut lines = lines(tree, &groups);
    let left_out = match detail.all {
        true => vec![],
        false => lines.split_off(lines.len().min(MAX_LINES)),
    };
    let columns = Columns::of(&lines, canvas);
    for line in &lines {
        // The rows of a bottleneck are in ascending order.
        let is_slowest = line
            .rows
            .iter()
            .any(|row| slowest.binary_search(row).is_ok());
        let text = text(tree, line, &columns, is_slowest, canvas);
        let _ = writeln!(out, "{}", text.trim_end());
        for note in line_notes(tree, line, detail) {
            let indent = columns.service + 4 + branch(line.first).chars().count();
            let note = canvas.truncate(&format!("{:indent$}{note}", ""));
            let _ = writeln!(out, "{}", canvas.paint(Style::new().dim(), &note));
        }
    }
    let left_out: usize = left_out.iter().map(Line::spans).sum();
    if left_out > 0 {
        let _ = writeln!(out, "  … and {left_out} more spans; --all shows them");
    }
    let _ = writeln!(out, "  ━ on the critical path   ─ off it");
    if lines.iter().any(|line| line.group.is_some()) {
        let _ = writeln!(
            out,
            "  × repeated siblings, with the sum of their durations; --all shows each"
        );
    }
    write_conclusion(&mut out, tree, bottleneck, canvas);
    out
}

/// The notes of a span; of repeated siblings, the status of the first that failed and the number of
/// spans below them.
fn line_notes(tree: &Tree, line: &Line<'_>, detail: Detail) -> Vec<String> {
    if line.group.is_none() {
        return notes::of(tree, line.first, detail.attributes);
    }
    // Repeated siblings mostly fail for the same reason.
    let mut rows = line.rows.iter().filter_map(|row| tree.rows().get(*row));
    let failed = rows.find(|row| row.member.is_error());
    let status = failed.and_then(notes::status);
    let errors = match line.errors_below {
        0 => String::new(),
        errors => format!(", {}", pluralize(errors, "error", "errors")),
    };
    let below = match line.below {
        0 => None,
        below => Some(pluralize(below, "span", "spans")),
    };
    let below = below.map(|spans| format!("{spans} below them{errors}"));
    status.into_iter().chain(below).collect()
}

/// Writes what is known about the whole trace.
fn write_conclusion(out: &mut String, tree: &Tree, bottleneck: Option<Bottleneck>, canvas: Canvas) {
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
    fn of(lines: &[Line<'_>], canvas: Canvas) -> Self {
        let service = |line: &Line<'_>| measure_text_width(&printable(line.first.member.service()));
        let name = |line: &Line<'_>| {
            let name = measure_text_width(&line.name()) + measure_text_width(&line.times());
            line.first.depth * 2 + name
        };
        let service = lines.iter().map(service).max().unwrap_or(0);
        let service = service.min(MAX_SERVICE_WIDTH);
        // The bar gets what is left, and at least a minimum: names are cut before it disappears.
        let room = canvas.columns.saturating_sub(service + OTHER_WIDTH);
        let name = lines.iter().map(name).max().unwrap_or(0);
        let name = name
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

fn text(
    tree: &Tree,
    line: &Line<'_>,
    columns: &Columns,
    is_slowest: bool,
    canvas: Canvas,
) -> String {
    let service = fit(&printable(line.first.member.service()), columns.service);
    let (branch, times) = (branch(line.first), line.times());
    let taken = measure_text_width(&branch) + measure_text_width(&times);
    let room = columns.name.saturating_sub(taken);
    let name = fit(&shortened(&line.first.member.span.name, room), room);
    let name = format!("{branch}{}{times}", name.trim_end());
    let name = fit(&name, columns.name);
    let single = usize::from(line.first.member.is_error());
    let errors = line.group.map_or(single, |group| group.errors);
    let (name_style, bar_style, mark) = match (errors, is_slowest) {
        (0, true) => (Style::new().yellow(), Style::new().yellow(), "  ◀ slowest"),
        (0, false) => (Style::new(), Style::new().cyan(), ""),
        (1, _) => (Style::new().red(), Style::new().red(), "  ✗ error"),
        (_, _) => (Style::new().red(), Style::new().red(), "  ✗ errors"),
    };
    let single = line.first.member.duration();
    let duration = line.group.map_or(single, |group| group.total);
    format!(
        "  {}  {}  {} {:>9}{}",
        canvas.paint(Style::new().dim(), &service),
        canvas.paint(name_style.clone(), &name),
        canvas.paint(bar_style, &bar(tree, &line.rows, columns.bar)),
        short_duration(duration),
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

/// One cell for each slice of the trace's time that any of the spans touches.
fn bar(tree: &Tree, rows: &[usize], cells: usize) -> String {
    let at = |time: u64| cell(offset(tree, time), tree.duration(), cells);
    let mut bar = vec![' '; cells];
    for row in rows.iter().filter_map(|row| tree.rows().get(*row)) {
        let (from, to) = (at(row.member.start()), at(row.member.end()));
        // A span shorter than a cell is still drawn, in the cell where it starts.
        let from = from.min(cells.saturating_sub(1));
        let span = from..to.max(from + 1);
        for cell in bar.get_mut(span.clone()).unwrap_or_default() {
            if *cell == ' ' {
                *cell = '─';
            }
        }
        for CriticalSegment { start, end } in &row.critical {
            let start = at(*start);
            let critical = start.max(span.start)..at(*end).max(start + 1).min(span.end);
            bar.get_mut(critical).unwrap_or_default().fill('━');
        }
    }
    bar.into_iter().collect()
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
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = truncate_str(text, width, "…");
    pad_str(&text, width, Alignment::Left, None).into_owned()
}

#[cfg(test)]
mod tests;
