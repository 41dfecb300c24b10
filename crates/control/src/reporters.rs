//! Counts of root spans that unmodified SDKs report, as the metric `otel.sdk.span.started`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    counts::{Counts, MAX_DECISIONS_PER_SECOND},
    instance::ServiceKey,
};

/// The most series of one reporter. SDKs have three, one for each sampling result.
const MAX_SERIES: usize = 32;

/// The identity of a reporting process: its service, and a digest of its resource.
type ReporterKey = (ServiceKey, u64);

/// A data point of a series that counts root spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RootSpanPoint {
    /// A digest of the series' scope and attributes.
    pub(crate) series: u64,
    /// True if the traces of these roots are kept.
    pub(crate) is_sampled: bool,
    /// True if the value is the increase since the previous point, false if it is cumulative.
    pub(crate) is_delta: bool,
    /// Unix nanoseconds, or 0 if not reported.
    pub(crate) start: u64,
    /// Unix nanoseconds.
    pub(crate) time: u64,
    pub(crate) value: u64,
}

/// The increase of a process's counts since its last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RootSpanDelta {
    pub(crate) counts: Counts,
    /// The time in which the roots started.
    pub(crate) period: Duration,
}

/// A bounded record of the processes that reported recently.
#[derive(Debug)]
pub(crate) struct Reporters {
    max: usize,
    forget_after: Duration,
    known: Mutex<HashMap<ReporterKey, Reporter>>,
}

#[derive(Debug)]
struct Reporter {
    last_report: Instant,
    series: HashMap<u64, RootSpanPoint>,
}

impl Reporters {
    pub(crate) fn new(max: usize, forget_after: Duration) -> Self {
        Self {
            max,
            forget_after,
            known: Mutex::default(),
        }
    }

    /// Stores a process's points, and returns the increase since its last report.
    ///
    /// `None` for the first report, since the time that it covers is unknown, and for a report with
    /// an implausible increase.
    pub(crate) fn update(
        &self,
        reporter: ReporterKey,
        points: &[RootSpanPoint],
        now: Instant,
    ) -> Option<RootSpanDelta> {
        let mut reporters = self.known.lock();
        let Some(known) = reporters.get_mut(&reporter) else {
            // Only when there is no room, since this visits all reporters.
            if reporters.len() >= self.max {
                reporters.retain(|_, known| {
                    now.saturating_duration_since(known.last_report) <= self.forget_after
                });
            }
            if reporters.len() < self.max {
                let mut known = Reporter {
                    last_report: now,
                    series: HashMap::new(),
                };
                // Stored as a baseline only, since the time that it covers is unknown.
                known.advance(points);
                reporters.insert(reporter, known);
            }
            return None;
        };
        let since = now.saturating_duration_since(known.last_report);
        known.last_report = now;
        let counts = known.advance(points);
        // Deltas may cover time before the last report.
        let deltas = points.iter().filter(|point| point.is_delta);
        let period = deltas.map(|it| Duration::from_nanos(it.time.saturating_sub(it.start)));
        let period = period.max().unwrap_or_default().max(since);
        let max_started = (period.as_secs() + 1).saturating_mul(MAX_DECISIONS_PER_SECOND);
        (counts.started <= max_started).then_some(RootSpanDelta { counts, period })
    }
}

impl Reporter {
    /// Stores points and returns the sum of their increases.
    fn advance(&mut self, points: &[RootSpanPoint]) -> Counts {
        let mut sum = Counts::default();
        for point in points {
            let before = self.series.get(&point.series);
            let is_new = before.is_none_or(|before| before.time < point.time);
            // A repeated or late point would count twice.
            if !is_new || (before.is_none() && self.series.len() >= MAX_SERIES) {
                continue;
            }
            let started = before.map_or(point.value, |before| point.since(before));
            let sampled = if point.is_sampled { started } else { 0 };
            sum += Counts { started, sampled };
            self.series.insert(point.series, *point);
        }
        sum
    }
}

impl RootSpanPoint {
    fn since(&self, before: &Self) -> u64 {
        // Another start time or a smaller value: the process counts from zero again.
        let continues = self.start == before.start && before.value <= self.value;
        match continues && !self.is_delta {
            true => self.value - before.value,
            false => self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn point(series: u64, second: u64, value: u64) -> RootSpanPoint {
        RootSpanPoint {
            series,
            is_sampled: series == 1,
            is_delta: false,
            start: 1,
            time: second * SECOND,
            value,
        }
    }

    fn delta(series: u64, second: u64, value: u64) -> RootSpanPoint {
        RootSpanPoint {
            is_delta: true,
            start: (second - 1) * SECOND,
            ..point(series, second, value)
        }
    }

    /// The increases of started and sampled in each of several reports, one per second.
    fn deltas(reports: &[&[RootSpanPoint]]) -> Vec<Option<(u64, u64)>> {
        let reporters = Reporters::new(10, Duration::from_secs(60));
        let start = Instant::now();
        let update = |(second, points): (u64, &&[RootSpanPoint])| {
            let now = start + Duration::from_secs(second);
            let delta = reporters.update(reporter(1), points, now)?;
            Some((delta.counts.started, delta.counts.sampled))
        };
        (0..).zip(reports).map(update).collect()
    }

    fn reporter(resource: u64) -> ReporterKey {
        ((Default::default(), "a".parse().unwrap()), resource)
    }

    #[test]
    fn cumulative_points_count_their_growth() {
        let reports: [&[RootSpanPoint]; 4] = [
            &[point(0, 1, 90)],
            &[point(0, 2, 100), point(1, 2, 3)],
            &[point(0, 3, 150), point(1, 3, 4)],
            &[point(0, 3, 150), point(1, 3, 4)],
        ];
        let expected = [None, Some((13, 3)), Some((51, 1)), Some((0, 0))];
        assert_eq!(deltas(&reports), expected);
    }

    #[test]
    fn restarted_total_counts_in_full() {
        let restarted = RootSpanPoint {
            start: 2,
            ..point(0, 3, 200)
        };
        let reports: [&[RootSpanPoint]; 3] = [&[point(0, 1, 90)], &[point(0, 2, 5)], &[restarted]];
        assert_eq!(deltas(&reports), [None, Some((5, 0)), Some((200, 0))]);
    }

    #[test]
    fn deltas_count_once() {
        let reports: [&[RootSpanPoint]; 4] = [
            &[delta(1, 1, 90)],
            &[delta(1, 2, 10)],
            &[delta(1, 2, 10)],
            &[delta(1, 3, 10), delta(1, 4, 7)],
        ];
        let expected = [None, Some((10, 10)), Some((0, 0)), Some((17, 17))];
        assert_eq!(deltas(&reports), expected);
    }

    #[test]
    fn ignores_implausible_values() {
        let reports: [&[RootSpanPoint]; 2] = [&[point(0, 1, 0)], &[point(0, 2, u64::MAX)]];
        assert_eq!(deltas(&reports), [None, None]);
    }

    #[test]
    fn reporters_and_their_series_are_bounded() {
        let reporters = Reporters::new(2, Duration::from_secs(60));
        let start = Instant::now();
        for resource in 0..3 {
            reporters.update(reporter(resource), &[], start);
        }
        assert_eq!(reporters.known.lock().len(), 2);
        let later = start + Duration::from_secs(61);
        let many: Vec<RootSpanPoint> = (0..100).map(|series| point(series, 1, 1)).collect();
        reporters.update(reporter(7), &many, later);
        let known = reporters.known.lock();
        assert_eq!(known.len(), 1);
        assert_eq!(known[&reporter(7)].series.len(), MAX_SERIES);
    }
}
