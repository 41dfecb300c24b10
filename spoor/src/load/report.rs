//! The summary as text.

use std::fmt;

use spoor_load::{LoadSummary, PERCENTILES, Punctuality, ResultRow};

use super::chart;
use crate::cli::TextTable;

/// A summary, displayed as text.
pub(super) struct TextSummary<'a>(pub(super) &'a LoadSummary);

impl fmt::Display for TextSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(summary) = self;
        writeln!(
            f,
            "{} requests in {:.1} s: {:.0} per second, {} failed",
            summary.all.requests, summary.seconds, summary.requests_per_second, summary.all.failed
        )?;
        let Punctuality { unsent, late } = summary.punctuality;
        if !summary.punctuality.is_rate_reached(summary.all.requests) {
            writeln!(
                f,
                "The rate was not reached: {unsent} requests were not sent, and {late} were sent late. \
                 This machine or the services are too slow; try a lower --rate or more --connections."
            )?;
        }
        let from = if summary.corrected { "due" } else { "sent" };
        writeln!(
            f,
            "\nLatency in milliseconds, measured from when each request was {from}:\n"
        )?;
        write!(f, "{}", table(summary))?;
        if let Some(slowest) = &summary.all.slowest {
            let (ms, id) = (figure(slowest.milliseconds), &slowest.trace_id);
            writeln!(f, "\nSlowest traced request: {ms} ms (`spoor trace {id}`)")?;
        }
        let width = chart::terminal_width();
        f.write_str(&chart::draw(&summary.timeline, summary.seconds, width))
    }
}

fn table(summary: &LoadSummary) -> TextTable {
    let mut headings = vec!["", "REQUESTS", "FAILED"];
    let percentiles = PERCENTILES.map(|(name, _)| name.to_uppercase());
    headings.extend(percentiles.iter().map(String::as_str));
    let mut table = TextTable::new(&headings);
    table.row(cells("all", &summary.all));
    // A single phase or operation would repeat the first row.
    if summary.phases.len() > 1 {
        for phase in &summary.phases {
            table.row(cells(&phase.phase, &phase.row));
        }
    }
    if summary.operations.len() > 1 {
        for operation in &summary.operations {
            table.row(cells(&operation.operation, &operation.row));
        }
    }
    table
}

fn cells(name: &str, row: &ResultRow) -> Vec<String> {
    let latency = |(name, _)| row.latency_milliseconds.get(name).copied();
    let latencies = PERCENTILES
        .map(latency)
        .map(|it| it.filter(|_| row.requests > 0).map(figure));
    let mut cells = vec![name.to_owned(), row.requests.to_string(), failures(row)];
    cells.extend(latencies.into_iter().map(Option::unwrap_or_default));
    cells
}

/// The number of failures, in total and by result.
fn failures(row: &ResultRow) -> String {
    let kind = |(kind, count): (&String, &u64)| format!("{kind}: {count}");
    let kinds: Vec<String> = row.failures.iter().map(kind).collect();
    if kinds.is_empty() {
        "0".to_owned()
    } else {
        format!("{} ({})", row.failed, kinds.join(", "))
    }
}

/// Formats milliseconds with about three significant digits.
fn figure(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.2}")
    } else if milliseconds < 100.0 {
        format!("{milliseconds:.1}")
    } else {
        format!("{milliseconds:.0}")
    }
}
