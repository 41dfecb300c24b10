//! A chart of latency over time for a terminal.

use std::fmt::Write;

use spoor_load::{Point, Points};

/// The width in columns when standard output is not a terminal.
const DEFAULT_WIDTH: usize = 80;
/// The columns beside the chart: the labels on its left, and the highest values on its right.
const MARGIN: usize = 26;
const HEIGHT: usize = 6;
const MAX_COLUMNS: usize = 100;
/// Eighths of a cell, from empty to full.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The fewest points for a chart: with fewer, the table has the same information.
const MIN_POINTS: usize = 8;

/// A column of the chart, which covers one or more intervals.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    p50: f64,
    p99: f64,
    responses: f64,
    failed: f64,
}

/// The terminal's width in columns.
pub(super) fn terminal_width() -> usize {
    let size = console::Term::stdout().size_checked();
    size.map_or(DEFAULT_WIDTH, |(_, columns)| usize::from(columns))
}

/// Draws the chart of a load that took `seconds`. It is empty for a load that was too short.
pub(super) fn draw(timeline: &Points, seconds: f64, width: usize) -> String {
    if timeline.points.len() < MIN_POINTS {
        return String::new();
    }
    let max_columns = width.saturating_sub(MARGIN).clamp(MIN_POINTS, MAX_COLUMNS);
    let columns = columns(timeline, max_columns);
    let top = columns.iter().map(|it| it.p99).fold(0.0, f64::max);
    let mut chart = String::from("\nLatency over time, ms (█ p50, ░ p99):\n\n");
    for row in (0..HEIGHT).rev() {
        let label = match row {
            row if row + 1 == HEIGHT => axis_label(top),
            row if row * 2 == HEIGHT => axis_label(top / 2.0),
            _ => String::new(),
        };
        let cells = columns.iter().map(|column| cell(column, row, top));
        let cells: String = cells.collect();
        let _ = writeln!(chart, "{label:>11} ┤{}", cells.trim_end());
    }
    let _ = writeln!(chart, "{:>11} └{}", 0, "─".repeat(columns.len()));
    let end = format!("{seconds:.0} s");
    let _ = writeln!(chart, "{:>11}  {end:>1$}\n", "", columns.len());
    let responses: Vec<f64> = columns.iter().map(|it| it.responses).collect();
    write_bars(&mut chart, "responses/s", &responses);
    let failed: Vec<f64> = columns.iter().map(|it| it.failed).collect();
    if failed.iter().any(|failed| *failed > 0.0) {
        write_bars(&mut chart, "failed/s", &failed);
    }
    chart
}

/// Writes values as one line of bars, with a name and the highest value.
fn write_bars(chart: &mut String, name: &str, values: &[f64]) {
    let top = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| {
        let level = eighths(value / top.max(f64::MIN_POSITIVE));
        // A value other than zero is always visible.
        let least = usize::from(*value > 0.0);
        LEVELS.get(level.max(least)).copied().unwrap_or(' ')
    };
    let line: String = values.iter().map(bar).collect();
    let _ = writeln!(chart, "{name:>11}  {line}  up to {top:.0}");
}

/// Groups neighbouring intervals, so that there are at most `max` columns.
fn columns(timeline: &Points, max: usize) -> Vec<Column> {
    let points = &timeline.points;
    let points_per_column = points.len().div_ceil(max).max(1);
    points
        .chunks(points_per_column)
        .map(|points| {
            let sum = |get: fn(&Point) -> u64| points.iter().map(get).sum::<u64>();
            let highest =
                |get: fn(&Point) -> Option<f64>| points.iter().filter_map(get).fold(0.0, f64::max);
            let seconds = points.len() as f64 * timeline.interval_seconds;
            Column {
                p50: highest(|point| point.p50),
                p99: highest(|point| point.p99),
                responses: sum(|point| point.responses) as f64 / seconds,
                failed: sum(|point| point.failed) as f64 / seconds,
            }
        })
        .collect()
}

/// The cell of a column in a row of the chart, counted from below.
fn cell(column: &Column, row: usize, top: f64) -> char {
    let rows = |value: f64| value / top.max(f64::MIN_POSITIVE) * HEIGHT as f64 - row as f64;
    let least = if row == 0 { 0.0 } else { 0.5 };
    match eighths(rows(column.p50)) {
        0 if rows(column.p99) > least => '░',
        level => LEVELS.get(level).copied().unwrap_or(' '),
    }
}

fn eighths(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * 8.0).round() as usize
}

fn axis_label(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.1}")
    } else {
        format!("{milliseconds:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(points: u32) -> Points {
        let point = |number: u32| Point {
            seconds: f64::from(number) / 4.0,
            requests: 12,
            failed: 0,
            responses: 12,
            p50: Some(5.0),
            p99: Some(f64::from(number)),
            max: Some(f64::from(number)),
        };
        Points {
            interval_seconds: 0.25,
            points: (0..points).map(point).collect(),
        }
    }

    #[test]
    fn chart_fits_its_width() {
        let chart = draw(&timeline(240), 60.0, 60);
        assert!(chart.contains("responses/s"), "{chart}");
        assert!(!chart.contains("failed/s"), "{chart}");
        let fits = |line: &str| line.chars().count() <= 60;
        assert!(chart.lines().all(fits), "{chart}");
    }

    #[test]
    fn short_load_has_no_chart() {
        assert_eq!(draw(&timeline(7), 2.0, 60), "");
    }
}
