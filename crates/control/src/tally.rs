//! The recent counts of a policy's strategy, and the verdict on them.

use std::time::{Duration, Instant};

use spoor_policy::{
    Strategy,
    statistics::{Judge, Verdict, interval, p_value},
};

use crate::{
    counts::Counts,
    evidence::{CountSource, ObservedRate},
    window::Window,
};

/// The confidence of the interval in the status.
const CONFIDENCE: f64 = 0.95;

/// The number of sampled decisions, and of unsampled ones, that must be expected in a window before
/// it can close early. A rate limit must allow as many before its verdict can be `TooLow`.
pub const MIN_EXPECTED_DECISIONS: f64 = 50.0;

/// The part of a rate limit that must be used where enough traces start. The rest may be in shares
/// that cannot be lent, or that still follow a changing demand.
const MIN_LIMIT_USE: f64 = 0.8;

/// The p-value below which counts are not shown as consistent. It is far below that of the judge,
/// since each new report is compared, and not only independent windows.
const MIN_P_VALUE: f64 = 1e-9;

/// The largest part of a rate limit that instances with small shares save up, in seconds of that
/// limit. If their shares are below one trace in this time, each saves one.
const MAX_SAVED_SECONDS: f64 = 5.0;

/// The recent counts of one strategy of one policy, over all instances.
#[derive(Debug)]
pub(crate) struct Tally {
    strategy: Strategy,
    length: Duration,
    window: Window,
    last: Instant,
    judge: Judge,
    /// Counts not judged yet. Judged windows must be independent, so they follow each other
    /// without overlap, unlike the sliding one.
    open: Counts,
    opened: Instant,
}

impl Tally {
    pub(crate) fn new(strategy: Strategy, length: Duration, now: Instant) -> Self {
        Self {
            strategy,
            length,
            window: Window::new(length, now),
            last: now,
            judge: Judge::default(),
            open: Counts::default(),
            opened: now,
        }
    }

    /// Adds counts made between two moments.
    pub(crate) fn add(&mut self, counts: Counts, from: Instant, to: Instant) {
        self.close_if_due(to);
        self.window.add(counts, from, to);
        self.open += counts;
        self.last = self.last.max(to);
        self.close_if_due(to);
    }

    /// True once the window is empty.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > self.length
    }

    /// The observed rate, or `None` if the window is empty. `sharers` are the numbers of instances
    /// that share the strategy's rate limit, for each place.
    pub(crate) fn observed(&mut self, sharers: &[usize], now: Instant) -> Option<ObservedRate> {
        self.close_if_due(now);
        let counts = self.window.sum(now);
        if counts.started == 0 {
            return None;
        }
        let sampled = counts.sampled.min(counts.started);
        let window = self.window.covered(now);
        Some(ObservedRate {
            source: CountSource::Clients,
            window,
            started: counts.started,
            sampled,
            rate: sampled as f64 / counts.started as f64,
            interval: interval(sampled, counts.started, CONFIDENCE),
            verdict: self.verdict(sampled, counts.started, sharers, now),
        })
    }

    /// The verdict to show with these counts.
    fn verdict(&mut self, sampled: u64, started: u64, sharers: &[usize], now: Instant) -> Verdict {
        // The judge compares independent trials. Decisions under a rate limit are not independent,
        // so these are compared with what the limit allows.
        let limit = match self.strategy {
            Strategy::Probability(probability) => {
                let is_implausible = p_value(sampled, started, probability) < MIN_P_VALUE;
                return match self.judge.verdict() {
                    // The judge needs several windows to change its verdict, while the rate shown
                    // with it follows each report: `100% Consistent` for a policy of 10 % would
                    // mislead.
                    Verdict::Consistent if is_implausible => Verdict::Unknown,
                    verdict => verdict,
                };
            }
            Strategy::RateLimit(limit) => f64::from(limit.get()),
        };
        // A tenth more allows for differences between clocks. The limit applies to each place
        // separately, and each instance there starts with one trace, however small its share is.
        let seconds = self.window.covered(now).as_secs_f64() * 1.1 + MAX_SAVED_SECONDS;
        let places = sharers.len().max(1) as f64;
        let max_sampled = limit * places * seconds + sharers.iter().sum::<usize>() as f64;
        let expected = self.window.allowed(limit, now);
        let sampled = sampled as f64;
        if sampled > max_sampled {
            Verdict::TooHigh
        } else if expected >= MIN_EXPECTED_DECISIONS && sampled < expected * MIN_LIMIT_USE {
            Verdict::TooLow
        } else {
            Verdict::Consistent
        }
    }

    /// Closes the open window at its full length, or at a sixth of it once it has enough decisions.
    ///
    /// The length depends only on the number of decisions and not on their results, so closing early
    /// favours no outcome.
    fn close_if_due(&mut self, now: Instant) {
        let Strategy::Probability(probability) = self.strategy else {
            return;
        };
        let age = now.saturating_duration_since(self.opened);
        let expected = self.open.started as f64 * probability.as_f64();
        let rest = self.open.started as f64 - expected;
        let is_enough = |count: f64, share: f64| count >= MIN_EXPECTED_DECISIONS || share == 0.0;
        let has_enough = self.open.started as f64 >= MIN_EXPECTED_DECISIONS
            && is_enough(expected, probability.as_f64())
            && is_enough(rest, 1.0 - probability.as_f64());
        if age >= self.length || (age >= self.length / 6 && has_enough) {
            if self.open.started > 0 {
                let sampled = self.open.sampled.min(self.open.started);
                self.judge
                    .add_window(sampled, self.open.started, probability);
            }
            self.open = Counts::default();
            self.opened = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use spoor_policy::{Probability, TracesPerSecond};

    use super::*;
    use crate::coverage::Coverage;

    fn percent(text: &str) -> Strategy {
        Strategy::Probability(text.parse::<Probability>().unwrap())
    }

    /// Adds the counts each second and returns the observed rate at the end.
    fn run(strategy: Strategy, seconds: u64, started: u64, sampled: u64) -> ObservedRate {
        let start = Instant::now();
        let mut tally = Tally::new(strategy, Duration::from_secs(60), start);
        for second in 1..=seconds {
            let now = start + Duration::from_secs(second);
            tally.add(
                Counts { started, sampled },
                now - Duration::from_secs(1),
                now,
            );
        }
        tally
            .observed(&[1], start + Duration::from_secs(seconds))
            .unwrap()
    }

    #[test]
    fn agreement_takes_one_window() {
        let observed = run(percent("1%"), 11, 10_000, 100);
        assert_eq!(observed.verdict, Verdict::Consistent);
        assert_eq!(observed.window, Duration::from_secs(11));
        assert_eq!((observed.started, observed.sampled), (110_000, 1_100));
        assert!(observed.interval.lower < 0.01 && 0.01 < observed.interval.upper);
    }

    #[test]
    fn contradiction_takes_three_windows() {
        assert_eq!(
            run(percent("1%"), 29, 10_000, 300).verdict,
            Verdict::Unknown
        );
        assert_eq!(
            run(percent("1%"), 31, 10_000, 300).verdict,
            Verdict::TooHigh
        );
        assert_eq!(run(percent("1%"), 31, 10_000, 30).verdict, Verdict::TooLow);
    }

    #[test]
    fn implausible_rate_is_not_consistent() {
        let start = Instant::now();
        let mut tally = Tally::new(percent("10%"), Duration::from_secs(60), start);
        let at = |second| start + Duration::from_secs(second);
        for second in 1..=24 {
            // At first the rate is that of the policy, and then every trace is kept.
            let sampled = if second <= 12 { 100 } else { 1_000 };
            let started = 1_000;
            tally.add(Counts { started, sampled }, at(second - 1), at(second));
            let verdict = tally.observed(&[], at(second)).unwrap().verdict;
            let expected = match second {
                10..=12 => Verdict::Consistent,
                _ => Verdict::Unknown,
            };
            assert_eq!(verdict, expected, "{second}");
        }
    }

    #[test]
    fn sparse_traffic_waits_for_the_whole_window() {
        assert_eq!(run(percent("50%"), 50, 1, 0).verdict, Verdict::Unknown);
    }

    #[test]
    fn rate_limit_is_compared_per_second() {
        let limit = Strategy::RateLimit(TracesPerSecond::new(10).unwrap());
        assert_eq!(run(limit, 30, 1_000, 10).verdict, Verdict::Consistent);
        assert_eq!(run(limit, 30, 1_000, 20).verdict, Verdict::TooHigh);
    }

    #[test]
    fn part_of_a_second_allows_a_part_of_the_limit() {
        let limit = Strategy::RateLimit(TracesPerSecond::new(10).unwrap());
        let start = Instant::now();
        let mut tally = Tally::new(limit, Duration::from_secs(60), start);
        for (from, to, sampled) in [(0, 1_000, 9), (1_000, 4_000, 30), (4_000, 4_100, 0)] {
            let [from, to] = [from, to].map(|at| start + Duration::from_millis(at));
            let counts = Counts {
                started: 1_000,
                sampled,
            };
            tally.add(counts, from, to);
        }
        let observed = tally.observed(&[1], start + Duration::from_millis(4_100));
        assert_eq!(observed.unwrap().verdict, Verdict::Consistent);
    }

    #[test]
    fn unused_part_of_a_limit_is_too_low() {
        let limit = Strategy::RateLimit(TracesPerSecond::new(30).unwrap());
        assert_eq!(run(limit, 60, 20, 12).verdict, Verdict::TooLow);
        assert_eq!(run(limit, 60, 20, 20).verdict, Verdict::Consistent);
        assert_eq!(run(limit, 60, 1_000, 12).verdict, Verdict::TooLow);
        assert_eq!(run(limit, 2, 20, 12).verdict, Verdict::Consistent);
    }

    #[test]
    fn bursts_at_the_limit_are_consistent() {
        let limit = Strategy::RateLimit(TracesPerSecond::new(10).unwrap());
        let start = Instant::now();
        let mut tally = Tally::new(limit, Duration::from_secs(60), start);
        for second in (5..=60).step_by(5) {
            let now = start + Duration::from_secs(second);
            let counts = Counts {
                started: 100,
                sampled: 10,
            };
            tally.add(counts, now - Duration::from_secs(1), now);
        }
        let at = start + Duration::from_secs(60);
        let observed = tally.observed(&[1], at).unwrap();
        assert_eq!(observed.verdict, Verdict::Consistent);
    }

    #[rstest]
    #[case::new_instances(&[12], 12, 13 + 12)]
    #[case::places(&[1, 1, 1], 3, 3 * 13 + 3)]
    fn sharers_and_places_raise_the_maximum(
        #[case] sharers: &[usize],
        #[case] at_once: u64,
        #[case] max: u64,
    ) {
        let limit = Strategy::RateLimit(TracesPerSecond::new(1).unwrap());
        let start = Instant::now();
        let mut tally = Tally::new(limit, Duration::from_secs(60), start);
        let mut verdict = |sampled, second| {
            let at = start + Duration::from_secs(second);
            let counts = Counts {
                started: sampled,
                sampled,
            };
            tally.add(counts, at, at);
            tally.observed(sharers, at).unwrap().verdict
        };
        assert_eq!(verdict(at_once, 0), Verdict::Consistent);
        // After eight seconds, the limit allows thirteen at each place.
        assert_eq!(verdict(max - at_once, 8), Verdict::Consistent);
        assert_eq!(verdict(sharers.len() as u64, 8), Verdict::TooHigh);
    }

    #[test]
    fn sampled_is_capped_at_started() {
        let observed = run(percent("100%"), 2, 10, 11);
        assert_eq!((observed.started, observed.sampled), (20, 20));
        assert!(observed.rate <= 1.0);
    }

    /// A process reports each second. For twenty seconds nothing is read, then all at once.
    #[test]
    fn stall_does_not_distort_the_verdict() {
        let limit = Strategy::RateLimit(TracesPerSecond::new(10).unwrap());
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut tally = Tally::new(limit, Duration::from_secs(60), start);
        let mut coverage = Coverage::default();
        for made in 1..=200_u64 {
            let arrived = match made {
                100..120 => 120,
                in_time => in_time,
            };
            let made = i64::try_from(made * 1_000).unwrap();
            let (from, to) = coverage.advance(Some(made), Some(0), at(arrived));
            let counts = Counts {
                started: 1_000,
                sampled: 10,
            };
            tally.add(counts, from, to);
            let observed = tally.observed(&[1], at(arrived)).unwrap();
            assert_eq!(
                observed.verdict,
                Verdict::Consistent,
                "{arrived}: {observed:?}"
            );
        }
    }
}
