//! A summary for people.

use std::fmt;

use super::{
    chart,
    summary::{Kept, PERCENTILES, Row, Summary},
};
use crate::cli::Table;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests in {:.1} s: {:.0} a second, {} failed",
            self.all.requests, self.seconds, self.requests_per_second, self.all.failed
        )?;
        let Kept { unsent, late } = self.kept;
        if !self.kept.is_reached(self.all.requests) {
            writeln!(
                f,
                "The rate was not reached: {unsent} more requests were due and not sent, {late} were sent late. \
                 This machine or the services are too slow for it: choose a lower --rate, or more --connections"
            )?;
        }
        let from = if self.corrected {
            "was due"
        } else {
            "was sent"
        };
        writeln!(f, "\nLatency in milliseconds, from when each {from}:\n")?;
        write!(f, "{}", self.table())?;
        if let Some(slowest) = &self.all.slowest {
            writeln!(
                f,
                "\nThe slowest that is traced took {} ms: spoor trace {}",
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
        // A single one is all there is.
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

/// How many failed, and in which ways.
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

/// With as many digits as say something.
fn figure(milliseconds: f64) -> String {
    if milliseconds < 10.0 {
        format!("{milliseconds:.2}")
    } else if milliseconds < 100.0 {
        format!("{milliseconds:.1}")
    } else {
        format!("{milliseconds:.0}")
    }
}
