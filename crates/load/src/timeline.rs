//! Latency, rate and failures over time, in a bounded number of intervals, which become longer
//! with the duration of the load.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::request_stats::{MAX_LATENCY_MICROS, RequestResult, micros, milliseconds};

/// The length of intervals at first.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// The most intervals. When there are more, pairs of them are merged.
const MAX_INTERVALS: usize = 240;
/// The significant digits of a latency in an interval.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The results of each interval since the start.
#[derive(Debug)]
pub(super) struct Timeline {
    length: Duration,
    intervals: Vec<Interval>,
}

#[derive(Debug)]
struct Interval {
    /// The latencies of the requests due in the interval, in microseconds.
    latency: Histogram<u32>,
    /// The number of those requests that failed.
    failed: u64,
    /// The number of responses received in the interval, whenever their requests were due.
    responses: u64,
}

/// The figures of one interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// The interval's start, in seconds since the start of the load.
    pub seconds: f64,
    /// The number of requests due in the interval.
    pub requests: u64,
    /// The number of those requests that failed.
    pub failed: u64,
    /// The number of responses received in the interval, whenever their requests were due.
    pub responses: u64,
    /// The median latency of the requests due, in milliseconds; `None` if there were none.
    pub p50: Option<f64>,
    /// The 99th percentile, likewise.
    pub p99: Option<f64>,
    /// The maximum, likewise.
    pub max: Option<f64>,
}

/// The results over time.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Points {
    /// The length of an interval.
    pub interval_seconds: f64,
    /// The intervals in their order.
    pub points: Vec<Point>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            length: MIN_INTERVAL,
            intervals: vec![],
        }
    }

    /// Counts a request that was due and ended at these times since the start.
    pub(super) fn count(&mut self, due: Duration, ended: Duration, result: RequestResult) {
        let latency = micros(ended.saturating_sub(due)).clamp(1, MAX_LATENCY_MICROS);
        // A late response counts in a later interval than its request.
        if let Some(interval) = self.interval(ended) {
            interval.responses += u64::from(matches!(result, RequestResult::Status(_)));
        }
        if let Some(interval) = self.interval(due) {
            interval.failed += u64::from(!result.is_success());
            // The histogram resizes itself, so recording does not fail.
            if interval.latency.record(latency).is_err() {
                tracing::error!(latency, "latency not recorded");
            }
        }
    }

    /// The figures of all intervals.
    pub(super) fn points(&self) -> Points {
        let length = self.length.as_secs_f64();
        let numbered = (0_u32..).zip(&self.intervals);
        let point = |(number, interval): (_, &Interval)| interval.point(length * f64::from(number));
        Points {
            interval_seconds: length,
            points: numbered.map(point).collect(),
        }
    }

    fn interval(&mut self, at: Duration) -> Option<&mut Interval> {
        while self.position(at) >= MAX_INTERVALS {
            self.merge_pairs();
        }
        let position = self.position(at);
        while self.intervals.len() <= position {
            self.intervals.push(Interval::new()?);
        }
        self.intervals.get_mut(position)
    }

    fn position(&self, at: Duration) -> usize {
        let position = at.as_nanos() / self.length.as_nanos().max(1);
        usize::try_from(position).unwrap_or(usize::MAX)
    }

    /// Merges each pair of neighbouring intervals.
    fn merge_pairs(&mut self) {
        // Merging keeps the whole load visible, where dropping the oldest would not.
        self.length *= 2;
        let mut old = std::mem::take(&mut self.intervals).into_iter();
        while let Some(mut first) = old.next() {
            if let Some(second) = old.next() {
                first.add(&second);
            }
            self.intervals.push(first);
        }
    }
}

impl Interval {
    fn new() -> Option<Self> {
        Some(Self {
            latency: Histogram::new(SIGNIFICANT_DIGITS).ok()?,
            failed: 0,
            responses: 0,
        })
    }

    fn add(&mut self, other: &Self) {
        // The histogram resizes itself, so adding does not fail.
        if self.latency.add(&other.latency).is_err() {
            tracing::error!("latencies of an interval lost");
        }
        self.failed += other.failed;
        self.responses += other.responses;
    }

    fn point(&self, seconds: f64) -> Point {
        let percentile = |percentile: f64| {
            (!self.latency.is_empty())
                .then(|| milliseconds(self.latency.value_at_percentile(percentile)))
        };
        Point {
            seconds,
            requests: self.latency.len(),
            failed: self.failed,
            responses: self.responses,
            p50: percentile(50.0),
            p99: percentile(99.0),
            max: percentile(100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::StatusCode;

    use super::*;

    #[test]
    fn late_response_counts_in_a_later_interval() {
        let mut timeline = Timeline::new();
        let (due, ended) = (Duration::from_millis(100), Duration::from_millis(700));
        timeline.count(due, ended, RequestResult::Status(StatusCode::BAD_GATEWAY));
        let points = timeline.points().points;
        let counts: Vec<_> = points
            .iter()
            .map(|point| (point.requests, point.failed, point.responses))
            .collect();
        assert_eq!(counts, [(1, 1, 0), (0, 0, 0), (0, 0, 1)]);
        let slowest = points.first().unwrap().max.unwrap();
        assert!((594.0..=606.0).contains(&slowest), "{slowest}");
    }

    #[test]
    fn a_day_takes_no_more_intervals_than_a_minute() {
        let mut timeline = Timeline::new();
        for second in 0..86_400 {
            let due = Duration::from_secs(second);
            timeline.count(
                due,
                due + Duration::from_millis(5),
                RequestResult::Status(StatusCode::OK),
            );
        }
        let points = timeline.points().points;
        assert!((MAX_INTERVALS / 2..=MAX_INTERVALS).contains(&points.len()));
        let requests: u64 = points.iter().map(|point| point.requests).sum();
        let responses: u64 = points.iter().map(|point| point.responses).sum();
        assert_eq!((requests, responses), (86_400, 86_400));
    }
}
