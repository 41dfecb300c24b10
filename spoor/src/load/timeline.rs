//! Latency, rate and failures over time, in a bounded number of intervals: a load that lasts
//! longer has longer ones.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::tally::{Answer, LONGEST, micros, milliseconds};

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(250);
/// With more than these, two become one.
const MOST: usize = 240;
/// Digits of a latency that are told apart in an interval.
const DIGITS: u8 = 2;

/// What happened in each interval since the start.
#[derive(Debug)]
pub(super) struct Timeline {
    length: Duration,
    intervals: Vec<Interval>,
}

#[derive(Debug)]
struct Interval {
    /// Latencies of the requests that were due in it, in microseconds.
    latency: Histogram<u32>,
    /// Of these, how many failed in the end.
    failed: u64,
    /// How many answers came in it, whenever they were due.
    answered: u64,
}

/// One interval, in figures.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When it began, counted from the start.
    pub seconds: f64,
    /// How many requests were due in it.
    pub requests: u64,
    /// Of these, how many failed in the end.
    pub failed: u64,
    /// How many answers came in it, whenever they were due.
    pub answered: u64,
    /// Of the requests that were due in it, in milliseconds; none if none was.
    pub p50: Option<f64>,
    /// The same.
    pub p99: Option<f64>,
    /// The same.
    pub max: Option<f64>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            length: SHORTEST,
            intervals: vec![],
        }
    }

    /// Counts a request that was due and ended at these times since the start.
    pub(super) fn count(&mut self, due: Duration, ended: Duration, answer: Answer) {
        let latency = micros(ended.saturating_sub(due)).clamp(1, LONGEST);
        if let Some(interval) = self.interval(ended) {
            interval.answered += u64::from(answer.is_answer());
        }
        if let Some(interval) = self.interval(due) {
            interval.failed += u64::from(!answer.is_success());
            // It grows by itself, so that every latency has a place.
            if interval.latency.record(latency).is_err() {
                tracing::error!("no place for a latency of {latency} µs");
            }
        }
    }

    /// How long an interval is, in seconds.
    pub(super) fn interval_seconds(&self) -> f64 {
        self.length.as_secs_f64()
    }

    /// All intervals until now.
    pub(super) fn points(&self) -> Vec<Point> {
        let length = self.interval_seconds();
        let numbered = (0_u32..).zip(&self.intervals);
        numbered
            .map(|(number, interval)| interval.point(length * f64::from(number)))
            .collect()
    }

    fn interval(&mut self, at: Duration) -> Option<&mut Interval> {
        while self.position(at) >= MOST {
            self.halve();
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

    /// Makes one of every two.
    fn halve(&mut self) {
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
            latency: Histogram::new(DIGITS).ok()?,
            failed: 0,
            answered: 0,
        })
    }

    fn add(&mut self, other: &Self) {
        // As in recording: it grows.
        if self.latency.add(&other.latency).is_err() {
            tracing::error!("the latencies of an interval are lost");
        }
        self.failed += other.failed;
        self.answered += other.answered;
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
            answered: self.answered,
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
    fn a_request_counts_where_it_was_due_and_where_it_ended() {
        let mut timeline = Timeline::new();
        let (due, ended) = (Duration::from_millis(100), Duration::from_millis(700));
        timeline.count(due, ended, Answer::Status(StatusCode::BAD_GATEWAY));
        let points = timeline.points();
        let counts: Vec<_> = points
            .iter()
            .map(|point| (point.requests, point.failed, point.answered))
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
                Answer::Status(StatusCode::OK),
            );
        }
        let points = timeline.points();
        assert!((MOST / 2..=MOST).contains(&points.len()));
        let requests: u64 = points.iter().map(|point| point.requests).sum();
        let answered: u64 = points.iter().map(|point| point.answered).sum();
        assert_eq!((requests, answered), (86_400, 86_400));
    }
}
