//! What unmodified SDKs say of themselves: the root spans that they started, by the sampler's
//! result, as the metric `otel.sdk.span.started`. Anyone can send it, so no verdict rests on it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_policy::{PolicyName, Strategy};

use crate::{Control, Counts, ledger::MAX_DECISIONS_PER_SECOND, services::Key, tally::Tally};

/// The most series of one reporter; roots by sampling result are three.
const MAX_SERIES: usize = 32;

/// Who reports: a service, and what stands for the process's resource.
type Reporter = (Key, u64);

/// One value of one series of root spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Stands for the series' attributes.
    pub(crate) series: u64,
    /// Whether these roots keep their traces.
    pub(crate) is_sampled: bool,
    /// Whether it counts from the point before rather than from the start.
    pub(crate) is_delta: bool,
    /// Unix nanoseconds; the start is 0 where it is not said.
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) value: u64,
}

/// What is new since some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Increment {
    counts: Counts,
    over: Duration,
}

/// The reporters that were heard lately, a bounded number of them.
#[derive(Debug)]
pub(crate) struct Reporters {
    max: usize,
    forget_after: Duration,
    known: Mutex<HashMap<Reporter, Known>>,
}

#[derive(Debug)]
struct Known {
    heard: Instant,
    series: HashMap<u64, Point>,
}

impl Reporters {
    pub(crate) fn new(max: usize, forget_after: Duration) -> Self {
        Self {
            max,
            forget_after,
            known: Mutex::default(),
        }
    }

    /// What is new in a reporter's points; none where it is new itself, since nobody knows over
    /// how long a time it has counted, and where that can't be true.
    fn take(&self, reporter: Reporter, points: &[Point], now: Instant) -> Option<Increment> {
        let mut reporters = self.known.lock();
        let Some(known) = reporters.get_mut(&reporter) else {
            if reporters.len() >= self.max {
                let is_recent =
                    |it: &Known| now.saturating_duration_since(it.heard) <= self.forget_after;
                reporters.retain(|_, known| is_recent(known));
            }
            if reporters.len() < self.max {
                let mut known = Known {
                    heard: now,
                    series: HashMap::new(),
                };
                known.advance(points);
                reporters.insert(reporter, known);
            }
            return None;
        };
        let since = now.saturating_duration_since(known.heard);
        known.heard = now;
        let counts = known.advance(points);
        // Deltas may be of longer ago than what was heard last.
        let deltas = points.iter().filter(|point| point.is_delta);
        let over = deltas.map(|it| Duration::from_nanos(it.time.saturating_sub(it.start)));
        let over = over.max().unwrap_or_default().max(since);
        let most = (over.as_secs() + 1).saturating_mul(MAX_DECISIONS_PER_SECOND);
        (counts.started <= most).then_some(Increment { counts, over })
    }
}

impl Known {
    /// Takes points in and adds up what is new in them.
    fn advance(&mut self, points: &[Point]) -> Counts {
        let mut sum = Counts::default();
        for point in points {
            let before = self.series.get(&point.series);
            let is_new = before.is_none_or(|before| before.time < point.time);
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

impl Point {
    fn since(&self, before: &Self) -> u64 {
        let goes_on = self.start == before.start && before.value <= self.value;
        match goes_on && !self.is_delta {
            true => self.value - before.value,
            false => self.value,
        }
    }
}

impl Control {
    /// Takes what a process reports, if it is of a service that is known here.
    pub(crate) fn reported(&self, key: &Key, resource: u64, points: &[Point]) {
        let now = Instant::now();
        let service = match self.0.services.get(key) {
            Some(service) => Some(service),
            None if self.0.pollers.has_asked(key, now) => self.0.enter(key),
            None => None,
        };
        let Some(service) = service else { return };
        let Some(increment) = self.0.reporters.take((key.clone(), resource), points, now) else {
            return;
        };
        let mut state = service.state();
        state.reported = Some(now);
        state.has_roots |= increment.counts.started > 0;
        let in_force = state.served.as_ref().map(|served| served.published);
        drop(state);
        // What began under the plan before is not of this one.
        let is_of_this_plan =
            in_force.is_some_and(|since| now.saturating_duration_since(since) >= increment.over);
        if is_of_this_plan && increment.counts.started > 0 {
            self.attribute(key, increment, now);
        }
        self.0.tick();
    }

    /// Puts the counts down to the policy that decides the service, if it is one: nobody says
    /// which operations they are of.
    fn attribute(&self, key: &Key, increment: Increment, now: Instant) {
        let Some((policy, strategy)) = self.sole_policy(key, increment.over) else {
            return;
        };
        let window = self.0.settings.window;
        let from = now.checked_sub(increment.over).unwrap_or(now);
        let mut tallies = self.0.reported.lock();
        tallies
            .entry((key.0.clone(), policy, strategy))
            .or_insert_with(|| Tally::new(strategy, window, from))
            .add(increment.counts, from, now);
    }

    /// The policy that decided for all of a service over the last so much time.
    fn sole_policy(&self, key: &Key, over: Duration) -> Option<(PolicyName, Strategy)> {
        let published = self.0.published.load_full()?;
        let plan = published.table.plan(key.0.as_str(), key.1.as_str());
        let now = Timestamp::now();
        let strategies = plan.at(now)?;
        let before = now.checked_sub(over).ok().and_then(|then| plan.at(then))?;
        let is_sole = strategies.operations.is_empty() && before == strategies;
        let assigned = strategies.default.as_ref().filter(|_| is_sole)?;
        Some((assigned.policy.clone(), assigned.strategy))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn point(series: u64, second: u64, value: u64) -> Point {
        Point {
            series,
            is_sampled: series == 1,
            is_delta: false,
            start: 1,
            time: second * SECOND,
            value,
        }
    }

    fn delta(series: u64, second: u64, value: u64) -> Point {
        Point {
            is_delta: true,
            start: (second - 1) * SECOND,
            ..point(series, second, value)
        }
    }

    /// Started and sampled that are new in each of several reports, one a second.
    fn taken(reports: &[&[Point]]) -> Vec<Option<(u64, u64)>> {
        let reporters = Reporters::new(10, Duration::from_secs(60));
        let start = Instant::now();
        let take = |(second, points): (u64, &&[Point])| {
            let now = start + Duration::from_secs(second);
            let increment = reporters.take(reporter(1), points, now)?;
            Some((increment.counts.started, increment.counts.sampled))
        };
        (0..).zip(reports).map(take).collect()
    }

    fn reporter(resource: u64) -> Reporter {
        ((Default::default(), "a".parse().unwrap()), resource)
    }

    #[test]
    fn totals_are_told_by_what_they_grew() {
        let reports: [&[Point]; 4] = [
            &[point(0, 1, 90)],
            &[point(0, 2, 100), point(1, 2, 3)],
            &[point(0, 3, 150), point(1, 3, 4)],
            &[point(0, 3, 150), point(1, 3, 4)],
        ];
        let expected = [None, Some((13, 3)), Some((51, 1)), Some((0, 0))];
        assert_eq!(taken(&reports), expected);
    }

    #[test]
    fn a_total_that_began_anew_is_all_new() {
        let restarted = Point {
            start: 2,
            ..point(0, 3, 200)
        };
        let reports: [&[Point]; 3] = [&[point(0, 1, 90)], &[point(0, 2, 5)], &[restarted]];
        assert_eq!(taken(&reports), [None, Some((5, 0)), Some((200, 0))]);
    }

    #[test]
    fn deltas_are_new_as_they_come_and_once() {
        let reports: [&[Point]; 4] = [
            &[delta(1, 1, 90)],
            &[delta(1, 2, 10)],
            &[delta(1, 2, 10)],
            &[delta(1, 3, 10), delta(1, 4, 7)],
        ];
        let expected = [None, Some((10, 10)), Some((0, 0)), Some((17, 17))];
        assert_eq!(taken(&reports), expected);
    }

    #[test]
    fn what_can_not_be_true_is_passed_over() {
        let reports: [&[Point]; 2] = [&[point(0, 1, 0)], &[point(0, 2, u64::MAX)]];
        assert_eq!(taken(&reports), [None, None]);
    }

    #[test]
    fn reporters_and_their_series_are_bounded() {
        let reporters = Reporters::new(2, Duration::from_secs(60));
        let start = Instant::now();
        for resource in 0..3 {
            reporters.take(reporter(resource), &[], start);
        }
        assert_eq!(reporters.known.lock().len(), 2);
        let later = start + Duration::from_secs(61);
        let many: Vec<Point> = (0..100).map(|series| point(series, 1, 1)).collect();
        reporters.take(reporter(7), &many, later);
        let known = reporters.known.lock();
        assert_eq!(known.len(), 1);
        assert_eq!(known[&reporter(7)].series.len(), MAX_SERIES);
    }
}
