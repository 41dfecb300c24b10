//! Statistics of a trace by service and operation.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use super::{build::Tree, row::Row};

/// The figures of the spans of one operation of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationStatistics<'a> {
    /// The service.
    pub service: &'a str,
    /// The name of the spans.
    pub operation: &'a str,
    /// The number of spans.
    pub count: usize,
    /// The number of spans with an error.
    pub errors: usize,
    /// The sum of the durations. An operation that calls itself is counted at each level.
    pub total: Duration,
    /// The sum of the durations without the time in which any child ran.
    pub self_time: Duration,
    /// The time of the critical path that is spent in these spans.
    pub critical_time: Duration,
    /// The longest duration.
    pub max: Duration,
    /// The median of the durations: one of them, by the nearest rank.
    pub p50: Duration,
    /// The 95th percentile of the durations, by the nearest rank.
    pub p95: Duration,
}

impl Tree {
    /// The statistics of each operation, the one with the most self time first.
    #[must_use]
    pub fn operations(&self) -> Vec<OperationStatistics<'_>> {
        let mut known: HashMap<(&str, &str), usize> = HashMap::new();
        let mut by_operation: Vec<Vec<&Row>> = Vec::new();
        for row in self.rows() {
            let next = by_operation.len();
            let key = (row.member.service(), row.member.span.name.as_str());
            let number = *known.entry(key).or_insert(next);
            match by_operation.get_mut(number) {
                Some(rows) => rows.push(row),
                None => by_operation.push(vec![row]),
            }
        }
        let statistics = by_operation.iter().filter_map(|rows| statistics(rows));
        let mut statistics: Vec<OperationStatistics<'_>> = statistics.collect();
        // Stable: equal ones stay in the order in which they appear.
        statistics.sort_by_key(|it| Reverse((it.self_time, it.total)));
        statistics
    }
}

fn statistics<'a>(rows: &[&'a Row]) -> Option<OperationStatistics<'a>> {
    let first = *rows.first()?;
    let mut durations: Vec<Duration> = rows.iter().map(|row| row.member.duration()).collect();
    durations.sort_unstable();
    Some(OperationStatistics {
        service: first.member.service(),
        operation: &first.member.span.name,
        count: rows.len(),
        errors: rows.iter().filter(|row| row.member.is_error()).count(),
        total: durations.iter().sum(),
        self_time: rows.iter().map(|row| row.self_time).sum(),
        critical_time: rows.iter().map(|row| row.critical_time()).sum(),
        max: percentile(&durations, 100),
        p50: percentile(&durations, 50),
        p95: percentile(&durations, 95),
    })
}

/// The smallest of sorted durations that at least this share of them does not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    let found = sorted.get(rank.saturating_sub(1));
    found.copied().unwrap_or_default()
}
