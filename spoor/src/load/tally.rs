//! Counts and latencies.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::{CreationError, Histogram};
use http::StatusCode;

/// Up to here latencies are told apart, in microseconds.
pub(super) const LONGEST: u64 = 3_600_000_000;

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// With this status.
    Status(StatusCode),
    /// Nobody took the connection.
    NotConnected,
    /// With the connection gone.
    Broken,
    /// Without an answer in time.
    TimedOut,
}

impl Answer {
    /// Whether it is an answer at all.
    pub(super) fn is_answer(self) -> bool {
        matches!(self, Self::Status(_))
    }

    /// Whether it is what was asked for: not a 4xx, not a 5xx, and an answer at all.
    pub(super) fn is_success(self) -> bool {
        matches!(self, Self::Status(status) if !status.is_client_error() && !status.is_server_error())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{}", status.as_u16()),
            Self::NotConnected => f.write_str("not connected"),
            Self::Broken => f.write_str("connection failed"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) latency: Duration,
    /// The trace that it made, if that is kept.
    pub(super) trace: Option<String>,
}

/// The request that took longest, of those whose trace is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slowest {
    pub(super) latency: Duration,
    pub(super) trace: String,
}

/// Counts and latencies of some requests.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) answers: BTreeMap<Answer, u64>,
    pub(super) slowest: Option<Slowest>,
    latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            answers: BTreeMap::new(),
            slowest: None,
            latency: Histogram::new_with_max(LONGEST, 3)?,
        })
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        *self.answers.entry(outcome.answer).or_default() += 1;
        self.latency.saturating_record(micros(outcome.latency));
        let is_slower = |slowest: &Slowest| outcome.latency > slowest.latency;
        if let Some(trace) = &outcome.trace
            && self.slowest.as_ref().is_none_or(is_slower)
        {
            self.slowest = Some(Slowest {
                latency: outcome.latency,
                trace: trace.clone(),
            });
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.answers.values().sum()
    }

    pub(super) fn failed(&self) -> u64 {
        let failed = self.answers.iter().filter(|(it, _)| !it.is_success());
        failed.map(|(_, count)| count).sum()
    }

    /// In milliseconds.
    pub(super) fn percentile(&self, percentile: f64) -> f64 {
        milliseconds(self.latency.value_at_percentile(percentile))
    }
}

/// As histograms hold it.
pub(super) fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(LONGEST)
}

#[expect(clippy::cast_precision_loss, reason = "far under 2^53")]
pub(super) fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}
