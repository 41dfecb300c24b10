//! The summary as text.

use std::fmt;

use super::{
    chart,
    summary::{PERCENTILES, Punctuality, Row, Summary},
};
use crate::cli::Table;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests in {:.1} s: {:.0} per second, {} failed",
            self.all.requests, self.seconds, self.requests_per_second, self.all.failed
        )?;
        let Punctuality { unsent, late } = self.punctuality;
        if !self.punctuality.is_rate_reached(self.all.requests) {
            writeln!(
                f,
                "The rate was not reached: {unsent} requests were not sent, and {late} were sent late. \
                 This machine or the services are too slow; try a lower --rate or more --connections."
            )?;
        }
        let from = if self.corrected {
            "was due"
        } else {
            "was sent"
        };
        writeln!(
            f,
            "\nLatency in milliseconds, measured from when each request {from}:\n"
        )?;
        write!(f, "{}", self.table())?;
        if let Some(slowest) = &self.all.slowest {
            writeln!(
                f,
                "\nSlowest traced request: {} ms, spoor trace {}",
                figure(slowest.milliseconds),
                slowest.trace_id
            )?;
        }
        write!(f, "{}", chart::draw(self, chart::terminal_width()))
    }
}

impl Summary {
    fn table(&self) -> Table {
        let mut headings = vec!["", "REQUESTS", "FAILED"];
        let percentiles = PERCENTILES.map(|(name, _)| name.to_uppercase());
        headings.extend(percentiles.iter().map(String::as_str));
        let mut table = Table::new(&headings);
        table.row(cells("all", &self.all));
        // A single phase or operation would repeat the first row.
        if self.phases.len() > 1 {
            for phase in &self.phases {
                table.row(cells(&phase.phase, &phase.row));
            }
        }
        if self.operations.len() > 1 {
            for operation in &self.operations {
                table.row(cells(&operation.operation, &operation.row));
            }
        }
        table
    }
}

fn cells(name: &str, row: &Row) -> Vec<String> {
    let latency = |(name, _)| row.latency_milliseconds.get(name).copied();
    let latencies = PERCENTILES
        .map(latency)
        .map(|it| it.filter(|_| row.requests > 0).map(figure));
    let mut cells = vec![name.to_owned(), row.requests.to_string(), failures(row)];
    cells.extend(latencies.into_iter().map(Option::unwrap_or_default));
    cells
}

/// The number of failures, in total and by result.
fn failures(row: &Row) -> String {
    let kinds: Vec<String> = row
        .failures
        .iter()
        .map(|(kind, count)| format!("{kind}: {count}"))
        .collect();
    if kinds.is_empty() {
        "0".to_owned()
    } else {
        format!("{} ({})", row.failed, kinds.join(", "))
    }
}

/// Formats milliseconds with three significant digits.
fn figure(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.2}")
    } else if milliseconds < 100.0 {
        format!("{milliseconds:.1}")
    } else {
        format!("{milliseconds:.0}")
    }
}
