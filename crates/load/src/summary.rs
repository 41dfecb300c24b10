//! The summary of a load in figures.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    load::Load,
    recorder::Recorded,
    request_stats::{RequestStats, SlowTrace},
    timeline::Points,
};

/// The names and values of the percentiles shown.
pub const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

/// The result of a load.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadSummary {
    /// All requests.
    #[serde(flatten)]
    pub all: ResultRow,
    /// The requests that were not sent on schedule.
    #[serde(flatten)]
    pub punctuality: Punctuality,
    /// The duration from the start until the last request has ended.
    pub seconds: f64,
    /// The average rate.
    pub requests_per_second: f64,
    /// True if the latency of a late request counts from when it was due.
    pub corrected: bool,
    /// The results by phase of the schedule.
    pub phases: Vec<PhaseRow>,
    /// The results by operation.
    pub operations: Vec<OperationRow>,
    /// The results over time.
    pub timeline: Points,
}

/// The requests that were not sent on schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Punctuality {
    /// The number of requests due for which no connection became free before the end.
    pub unsent: u64,
    /// The number of requests sent noticeably later than they were due.
    pub late: u64,
}

/// The results of a group of requests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultRow {
    /// The number of requests sent.
    pub requests: u64,
    /// The number that ended with a 4xx, a 5xx or no response.
    pub failed: u64,
    /// The number of requests by result.
    pub results: BTreeMap<String, u64>,
    /// The number of failed requests by result.
    pub failures: BTreeMap<String, u64>,
    /// The latency in milliseconds by percentile.
    pub latency_milliseconds: BTreeMap<&'static str, f64>,
    /// The slowest request whose trace was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest: Option<SlowTrace>,
}

/// The results of a phase.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRow {
    /// The phase's name.
    pub phase: String,
    /// The start, in seconds since the start of the load.
    pub began: f64,
    /// The planned duration, in seconds.
    pub lasts: f64,
    /// The requests per second due at the start and at the end.
    pub rate: [f64; 2],
    /// The results.
    #[serde(flatten)]
    pub row: ResultRow,
}

/// The results of an operation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationRow {
    /// The operation's name.
    pub operation: String,
    /// The results.
    #[serde(flatten)]
    pub row: ResultRow,
}

impl LoadSummary {
    pub(super) fn new(
        load: &Load,
        recorded: &Recorded,
        elapsed: Duration,
        punctuality: Punctuality,
    ) -> Self {
        let all = ResultRow::from(&recorded.all);
        let seconds = elapsed.as_secs_f64();
        let named = |(name, stats): (&std::sync::Arc<str>, &RequestStats)| OperationRow {
            operation: name.to_string(),
            row: stats.into(),
        };
        Self {
            requests_per_second: all.requests as f64 / seconds.max(f64::MIN_POSITIVE),
            all,
            punctuality,
            seconds,
            corrected: load.schedule.is_some(),
            phases: phases(load, &recorded.phases),
            operations: recorded.operations.iter().map(named).collect(),
            timeline: recorded.timeline.points(),
        }
    }
}

impl Punctuality {
    /// True if at most one request in twenty was late or unsent, given the number sent.
    #[must_use]
    pub fn is_rate_reached(self, requests: u64) -> bool {
        // In integers: (unsent + late) / (sent + unsent) is at most a twentieth.
        20 * (self.unsent + self.late) <= requests + self.unsent
    }
}

impl From<&RequestStats> for ResultRow {
    fn from(stats: &RequestStats) -> Self {
        let latency = |(name, at): (&'static str, f64)| (name, stats.percentile(at));
        let (mut results, mut failures) = (BTreeMap::new(), BTreeMap::new());
        for (result, count) in &stats.results {
            results.insert(result.to_string(), *count);
            if !result.is_success() {
                failures.insert(result.to_string(), *count);
            }
        }
        Self {
            requests: results.values().sum(),
            failed: failures.values().sum(),
            results,
            failures,
            latency_milliseconds: PERCENTILES.map(latency).into(),
            slowest: stats.slowest.clone(),
        }
    }
}

fn phases(load: &Load, phase_stats: &[RequestStats]) -> Vec<PhaseRow> {
    let Some(schedule) = &load.schedule else {
        return vec![];
    };
    let mut began = 0.0;
    let row = |(phase, stats): (&super::schedule::LoadPhase, &RequestStats)| {
        let lasts = phase.lasts.as_secs_f64();
        began += lasts;
        PhaseRow {
            phase: phase.name.clone(),
            began: began - lasts,
            lasts,
            rate: [phase.from, phase.to],
            row: stats.into(),
        }
    };
    schedule.0.iter().zip(phase_stats).map(row).collect()
}
