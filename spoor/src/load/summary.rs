//! What came of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::{CreationError, Histogram};
use http::StatusCode;
use serde::Serialize;

use super::Pace;

/// Up to here latencies are told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    /// With this status.
    Status(StatusCode),
    /// With the connection gone.
    Broken,
    /// Without an answer in time.
    TimedOut,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{}", status.as_u16()),
            Self::Broken => f.write_str("connection failed"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

/// Counts and latencies of the requests so far.
#[derive(Clone)]
pub(super) struct Tally {
    answers: BTreeMap<Answer, u64>,
    latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Result<Self, CreationError> {
        let latency = Histogram::new_with_max(LONGEST, 3)?;
        Ok(Self {
            answers: BTreeMap::new(),
            latency,
        })
    }

    pub(super) fn count(&mut self, answer: Answer, latency: Duration) {
        *self.answers.entry(answer).or_default() += 1;
        self.latency
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST));
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (answer, count) in &other.answers {
            *self.answers.entry(*answer).or_default() += count;
        }
        for step in other.latency.iter_recorded() {
            self.latency
                .saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
    }

    pub(super) fn summary(self, pace: Pace, elapsed: Duration) -> Summary {
        let requests: u64 = self.answers.values().sum();
        let succeeded = |answer: &Answer| matches!(answer, Answer::Status(s) if !s.is_client_error() && !s.is_server_error());
        let failed = self
            .answers
            .iter()
            .filter(|(a, _)| !succeeded(a))
            .map(|(_, n)| n)
            .sum();
        Summary {
            requests,
            failed,
            unsent: 0,
            seconds: elapsed.as_secs_f64(),
            requests_per_second: rate(requests, elapsed),
            answers: self
                .answers
                .iter()
                .map(|(a, n)| (a.to_string(), *n))
                .collect(),
            latency_milliseconds: PERCENTILES
                .iter()
                .map(|p| {
                    (
                        label(*p),
                        milliseconds(self.latency.value_at_percentile(*p)),
                    )
                })
                .collect(),
            corrected: matches!(pace, Pace::Rate(_)),
        }
    }
}

/// What a load came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many were sent and ended in some way.
    pub requests: u64,
    /// How many of them ended with a 4xx, a 5xx or no answer.
    pub failed: u64,
    /// How many were due, but no connection was free for them before the end.
    pub unsent: u64,
    /// From the first to the last.
    pub seconds: f64,
    /// Requests through seconds.
    pub requests_per_second: f64,
    /// How many ended in which way.
    pub answers: BTreeMap<String, u64>,
    /// By percentile, in milliseconds.
    pub latency_milliseconds: Vec<(String, f64)>,
    /// Whether a late request counts from when it was due.
    pub corrected: bool,
}

impl Summary {
    /// The same for scripts.
    pub fn to_json(&self) -> serde_json::Value {
        let latency: serde_json::Map<String, serde_json::Value> = self
            .latency_milliseconds
            .iter()
            .map(|(percentile, value)| (percentile.clone(), (*value).into()))
            .collect();
        serde_json::json!({
            "requests": self.requests,
            "failed": self.failed,
            "unsent": self.unsent,
            "seconds": self.seconds,
            "requestsPerSecond": self.requests_per_second,
            "answers": self.answers,
            "latencyMilliseconds": latency,
            "corrected": self.corrected,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests in {:.1} s: {:.0} a second, {} failed",
            self.requests, self.seconds, self.requests_per_second, self.failed
        )?;
        for (answer, count) in &self.answers {
            writeln!(f, "  {answer:<20} {count:>10}")?;
        }
        if self.unsent > 0 {
            writeln!(
                f,
                "{} more were due, but no connection was free: the rate is more than is answered, or needs more --connections",
                self.unsent
            )?;
        }
        let from = if self.corrected {
            "from when each was due"
        } else {
            "from when each was sent"
        };
        writeln!(f, "latency, {from}:")?;
        for (percentile, value) in &self.latency_milliseconds {
            writeln!(f, "  {percentile:<20} {value:>10.2} ms")?;
        }
        Ok(())
    }
}

fn label(percentile: f64) -> String {
    if percentile >= 100.0 {
        "max".to_owned()
    } else {
        format!("p{percentile}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "far under 2^53")]
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "far under 2^53")]
fn rate(requests: u64, elapsed: Duration) -> f64 {
    requests as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}
