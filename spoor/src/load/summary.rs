//! What came of it, in figures.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    Load, Pace,
    recorder::Recorded,
    tally::{Slowest, Tally},
    timeline::Point,
};

/// The percentiles that are shown, and what they are called.
pub const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

/// What a load came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// All requests.
    #[serde(flatten)]
    pub all: Row,
    /// How well the rate was kept.
    #[serde(flatten)]
    pub kept: Kept,
    /// From the first to the last.
    pub seconds: f64,
    /// Requests through seconds.
    pub requests_per_second: f64,
    /// Whether a late request counts from when it was due.
    pub corrected: bool,
    /// The same by phase of the schedule.
    pub phases: Vec<PhaseRow>,
    /// The same by operation.
    pub operations: Vec<OperationRow>,
    /// Over time.
    pub timeline: Points,
}

/// How well the rate was kept that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// How many turns were due, but no connection was free for them before the end.
    pub unsent: u64,
    /// How many were sent noticeably later than they were due.
    pub late: u64,
}

/// What some requests came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// How many were sent and ended in some way.
    pub requests: u64,
    /// How many of them ended with a 4xx, a 5xx or no answer.
    pub failed: u64,
    /// How many ended in which way.
    pub answers: BTreeMap<String, u64>,
    /// How many of the failed ended in which way.
    pub failures: BTreeMap<String, u64>,
    /// By percentile, in milliseconds.
    pub latency_milliseconds: BTreeMap<&'static str, f64>,
    /// The slowest whose trace is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest: Option<SlowTrace>,
}

/// A trace to look at.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowTrace {
    /// Its id.
    pub trace_id: String,
    /// How long its request took.
    pub milliseconds: f64,
}

/// What a phase came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRow {
    /// What it is called.
    pub phase: String,
    /// When it began, in seconds since the start.
    pub began: f64,
    /// How long it was to last, in seconds.
    pub lasts: f64,
    /// Requests a second that were due at its start and its end.
    pub rate: [f64; 2],
    /// Its requests.
    #[serde(flatten)]
    pub row: Row,
}

/// What an operation came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationRow {
    /// What it is called.
    pub operation: String,
    /// Its requests.
    #[serde(flatten)]
    pub row: Row,
}

/// What happened when.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Points {
    /// How long an interval is.
    pub interval_seconds: f64,
    /// The intervals, from the start.
    pub points: Vec<Point>,
}

impl Summary {
    pub(super) fn new(load: &Load, recorded: &Recorded, elapsed: Duration, kept: Kept) -> Self {
        let all = Row::from(&recorded.all);
        let seconds = elapsed.as_secs_f64();
        let named = |(name, tally): (&std::sync::Arc<str>, &Tally)| OperationRow {
            operation: name.to_string(),
            row: tally.into(),
        };
        Self {
            requests_per_second: real(all.requests) / seconds.max(f64::MIN_POSITIVE),
            all,
            kept,
            seconds,
            corrected: matches!(load.pace, Pace::Open(_)),
            phases: phases(load, &recorded.phases),
            operations: recorded.operations.iter().map(named).collect(),
            timeline: Points {
                interval_seconds: recorded.timeline.interval_seconds(),
                points: recorded.timeline.points(),
            },
        }
    }
}

impl Kept {
    /// Fewer than one request in twenty was late or left out, of `requests` that were sent.
    pub fn is_reached(self, requests: u64) -> bool {
        20 * (self.unsent + self.late) <= requests + self.unsent
    }
}

impl From<&Tally> for Row {
    fn from(tally: &Tally) -> Self {
        let (mut answers, mut failures) = (BTreeMap::new(), BTreeMap::new());
        for (answer, count) in &tally.answers {
            answers.insert(answer.to_string(), *count);
            if !answer.is_success() {
                failures.insert(answer.to_string(), *count);
            }
        }
        Self {
            requests: tally.requests(),
            failed: tally.failed(),
            answers,
            failures,
            latency_milliseconds: PERCENTILES
                .iter()
                .map(|(name, percentile)| (*name, tally.percentile(*percentile)))
                .collect(),
            slowest: tally.slowest.as_ref().map(SlowTrace::from),
        }
    }
}

impl From<&Slowest> for SlowTrace {
    fn from(slowest: &Slowest) -> Self {
        Self {
            trace_id: slowest.trace.clone(),
            milliseconds: slowest.latency.as_secs_f64() * 1e3,
        }
    }
}

fn phases(load: &Load, tallies: &[Tally]) -> Vec<PhaseRow> {
    let Pace::Open(schedule) = &load.pace else {
        return vec![];
    };
    let mut began = 0.0;
    let row = |(phase, tally): (&super::schedule::Phase, &Tally)| {
        let lasts = phase.lasts.as_secs_f64();
        began += lasts;
        PhaseRow {
            phase: phase.name.clone(),
            began: began - lasts,
            lasts,
            rate: [phase.from, phase.to],
            row: tally.into(),
        }
    };
    schedule.phases().iter().zip(tallies).map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far under 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}
