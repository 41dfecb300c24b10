//! `spoor traces --follow`: new traces as they arrive.

use std::{
    collections::{HashSet, VecDeque},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use spoor_traces::client::{FoundTrace, Query, QueryError, TraceClient};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    format::short_duration,
    list,
    render::{Canvas, fit},
};
use crate::cli::{
    Output,
    out::{errln, outln},
    print_json,
};

/// The time between searches.
const INTERVAL: Duration = Duration::from_secs(1);
/// The default maximum age of a trace when it arrives. Each search returns the traces of this
/// period.
pub(super) const LOOKBACK: Duration = Duration::from_secs(60);
/// The default maximum number of traces of a search.
pub(super) const LIMIT: u16 = 200;
/// The most IDs remembered, to print each trace once: those of the largest responses for a while.
const MAX_REMEMBERED: usize = 20_000;
const ROOT_WIDTH: usize = 32;

/// Prints traces that arrive from now on, until a signal ends the process.
///
/// # Errors
/// [`QueryError`] of the first search. Later errors are reported, and the search is repeated.
pub(super) async fn follow(
    traces: &TraceClient,
    service: Option<&str>,
    query: &Query,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let stop = spoor_runtime::cancel_on_shutdown_signal().context("cannot catch Ctrl-C")?;
    let canvas = Canvas::terminal();
    let mut known = Known::default();
    // Earlier traces are what the command prints without the option.
    let earlier = search(traces, service, query);
    let Some(earlier) = stop.run_until_cancelled(earlier).await else {
        return Ok(ExitCode::SUCCESS);
    };
    known.remember(earlier?);
    if output == Output::Table {
        outln!("{}", canvas.truncate(&heading()));
    }
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    while let Some(found) = next(&mut ticks, traces, service, query, &stop).await {
        match found {
            Ok(found) => {
                is_failing = false;
                let new = known.remember(found);
                if new.len() >= usize::from(query.limit) {
                    errln!("Warning: more traces arrive than --limit allows; some are not shown");
                }
                for trace in &new {
                    match output {
                        Output::Json => print_json(&list::json(trace))?,
                        Output::Table => outln!("{}", canvas.truncate(&line(trace))),
                    }
                }
            }
            // Once, since a lab that restarts refuses several searches.
            Err(error) if !is_failing => {
                is_failing = true;
                errln!("Warning: {error}; trying again each second");
            }
            Err(_) => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Searches after the next tick. Returns `None` once the process has to stop.
async fn next(
    ticks: &mut tokio::time::Interval,
    traces: &TraceClient,
    service: Option<&str>,
    query: &Query,
    stop: &CancellationToken,
) -> Option<Result<Vec<FoundTrace>, QueryError>> {
    let found = async {
        ticks.tick().await;
        search(traces, service, query).await
    };
    stop.run_until_cancelled(found).await
}

async fn search(
    traces: &TraceClient,
    service: Option<&str>,
    query: &Query,
) -> Result<Vec<FoundTrace>, QueryError> {
    // Each time, since services may have appeared.
    let services = match service {
        Some(service) => vec![service.to_owned()],
        None => traces.services().await?,
    };
    traces.newest(&services, query).await
}

/// The IDs of the traces found so far, the oldest of which are forgotten.
#[derive(Default)]
struct Known {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Known {
    /// Remembers traces, which are sorted from new to old. Returns those not found before, from old
    /// to new.
    fn remember(&mut self, mut found: Vec<FoundTrace>) -> Vec<FoundTrace> {
        found.retain(|trace| self.ids.insert(trace.id.clone()));
        found.reverse();
        self.order
            .extend(found.iter().map(|trace| trace.id.clone()));
        while self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        found
    }
}

fn heading() -> String {
    let cells = ["TRACE", "START", "DURATION", "SPANS", "ERRORS", "ROOT"].map(str::to_owned);
    columns(&cells, "SERVICES")
}

fn line(trace: &FoundTrace) -> String {
    let FoundTrace { id, tree } = trace;
    let start = Timestamp::from_nanosecond(i128::from(tree.start()));
    let start = start.unwrap_or(Timestamp::UNIX_EPOCH);
    let start = start.to_zoned(TimeZone::system());
    let cells = [
        id.clone(),
        start.strftime("%H:%M:%S").to_string(),
        short_duration(tree.duration()),
        tree.rows().len().to_string(),
        match tree.errors() {
            0 => "-".to_owned(),
            errors => errors.to_string(),
        },
        list::root(tree),
    ];
    columns(&cells, &list::services(tree).join(", "))
}

/// Columns of fixed widths, since later lines are not known yet.
fn columns(cells: &[String; 6], services: &str) -> String {
    let [id, start, duration, spans, errors, root] = cells;
    let root = fit(root, ROOT_WIDTH);
    format!("{id:<32}  {start:<8}  {duration:>8}  {spans:>5}  {errors:>6}  {root}  {services}")
}

#[cfg(test)]
mod tests {
    use spoor_traces::tree::Tree;

    use super::*;
    use crate::traces::spans::{red, span};

    fn trace(id: usize) -> FoundTrace {
        FoundTrace {
            id: format!("{id:032x}"),
            tree: Tree::default(),
        }
    }

    fn new_of(known: &mut Known, ids: &[usize]) -> Vec<String> {
        let found = ids.iter().map(|id| trace(*id)).collect();
        let new = known.remember(found).into_iter();
        new.map(|it| it.id.trim_start_matches('0').to_owned())
            .collect()
    }

    #[test]
    fn each_trace_is_new_once() {
        let mut known = Known::default();
        assert_eq!(new_of(&mut known, &[2, 1]), ["1", "2"]);
        assert_eq!(new_of(&mut known, &[4, 2, 3, 1]), ["3", "4"]);
        assert!(new_of(&mut known, &[4, 3]).is_empty());
    }

    #[test]
    fn memory_of_ids_is_bounded() {
        let mut known = Known::default();
        let many: Vec<usize> = (1..=MAX_REMEMBERED + 10).rev().collect();
        assert_eq!(new_of(&mut known, &many).len(), many.len());
        assert_eq!(known.ids.len(), MAX_REMEMBERED);
        assert_eq!(known.order.len(), MAX_REMEMBERED);
        assert!(new_of(&mut known, &[MAX_REMEMBERED + 10]).is_empty());
    }

    #[test]
    fn lines_are_printable_and_aligned() {
        let batch = red(span("sh\u{1b}op", "GET /\u{7}注文", 1, 0, 0, 5));
        let found = FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![batch]),
        };
        let (heading, line) = (heading(), line(&found));
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let before = |text: &str, mark: &str| {
            let (before, _) = text.split_once(mark).unwrap_or_default();
            console::measure_text_width(before)
        };
        assert_eq!(before(&line, "sh␛op"), before(&heading, "SERVICES"));
        assert_eq!(before(&line, "GET /␇"), before(&heading, "ROOT"));
    }
}
