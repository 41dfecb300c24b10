//! Counts over the last so many seconds, in a ring of buckets.

use std::time::{Duration, Instant};

use crate::Counts;

const BUCKETS: usize = 60;

/// Slides by a sixtieth of its length.
#[derive(Debug)]
pub(crate) struct Window {
    length: Duration,
    /// A length before the window's first moment: reports may cover what was before that.
    origin: Instant,
    started: Instant,
    /// The number, since the origin, of the newest bucket.
    newest: u64,
    buckets: [Counts; BUCKETS],
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        let length = length.max(Duration::from_millis(1));
        let mut window = Self {
            length,
            origin: now.checked_sub(length).unwrap_or(now),
            started: now,
            newest: 0,
            buckets: [Counts::default(); BUCKETS],
        };
        window.newest = window.bucket(now);
        window
    }

    /// Adds what was counted from one moment to another, evenly over the time between; what lies
    /// before the window is left out.
    pub(crate) fn add(&mut self, counts: Counts, from: Instant, to: Instant) {
        self.slide(to);
        let from = from.min(to);
        self.started = self.started.min(from);
        let oldest = (self.newest + 1).saturating_sub(BUCKETS as u64);
        let until = |at: Instant| counts.part(at.saturating_duration_since(from), to - from);
        let first = self.bucket(from).max(oldest);
        let mut before = match from == to {
            true => Counts::default(),
            false => until(self.begin(first)),
        };
        // Each bucket gets what is due by its end and was not given yet, so that nothing is lost
        // to rounding.
        for bucket in first..=self.bucket(to) {
            let after = until(self.begin(bucket + 1).min(to));
            if let Some(place) = self.buckets.get_mut(slot(bucket)) {
                *place += after.since(before);
            }
            before = after;
        }
    }

    /// What was counted in it.
    pub(crate) fn sum(&mut self, now: Instant) -> Counts {
        self.slide(now);
        let mut sum = Counts::default();
        for bucket in &self.buckets {
            sum += *bucket;
        }
        sum
    }

    /// The most that a limit a second lets be sampled of what was started in it, with no second's
    /// rest left for another.
    pub(crate) fn allowed(&mut self, per_second: f64, now: Instant) -> f64 {
        self.slide(now);
        let most = per_second * self.step().as_secs_f64();
        let started = self.buckets.iter().map(|bucket| bucket.started as f64);
        started.map(|started| started.min(most)).sum()
    }

    /// Its length, or its age while it is younger.
    pub(crate) fn spans(&self, now: Instant) -> Duration {
        self.length.min(now.saturating_duration_since(self.started))
    }

    /// Empties the buckets that time has passed over.
    fn slide(&mut self, now: Instant) {
        let current = self.bucket(now);
        let passed = current.saturating_sub(self.newest).min(BUCKETS as u64);
        for step in 0..passed {
            if let Some(bucket) = self.buckets.get_mut(slot(current - step)) {
                *bucket = Counts::default();
            }
        }
        self.newest = self.newest.max(current);
    }

    /// The bucket of a moment.
    fn bucket(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.origin);
        u64::try_from(age.as_nanos() / self.step().as_nanos()).unwrap_or(u64::MAX)
    }

    /// When a bucket begins.
    fn begin(&self, bucket: u64) -> Instant {
        let nanos = self.step().as_nanos().saturating_mul(bucket.into());
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.origin + Duration::from_nanos(nanos)
    }

    fn step(&self) -> Duration {
        (self.length / BUCKETS as u32).max(Duration::from_nanos(1))
    }
}

impl Counts {
    /// What of it falls in a part of the time that it covers.
    fn part(self, part: Duration, whole: Duration) -> Self {
        let (part, whole) = (part.as_nanos(), whole.as_nanos());
        let of = |count: u64| match whole {
            0 => count,
            _ => u64::try_from(u128::from(count) * part / whole).unwrap_or(count),
        };
        Self {
            started: of(self.started),
            sampled: of(self.sampled),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            started: self.started.saturating_sub(before.started),
            sampled: self.sampled.saturating_sub(before.sampled),
        }
    }
}

fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Agrees with adding up by hand, to the bucket.
        #[test]
        fn holds_what_the_last_buckets_got(
            steps in prop::collection::vec((0_u64..20_000, 0_u64..100), 1..60)
        ) {
            let start = Instant::now();
            let mut window = Window::new(Duration::from_secs(60), start);
            let mut added: Vec<(u64, u64)> = vec![];
            let mut now = 0;
            for (pause, started) in steps {
                now += pause;
                let at = start + Duration::from_millis(now);
                window.add(Counts { started, sampled: started / 2 }, at, at);
                added.push((now, started));
                let expected: u64 = added
                    .iter()
                    .filter(|(when, _)| now / 1_000 - when / 1_000 < 60)
                    .map(|(_, started)| started)
                    .sum();
                prop_assert_eq!(window.sum(at).started, expected);
            }
        }
    }
    fn sums(window: &mut Window, start: Instant, seconds: &[u64]) -> Vec<u64> {
        let sum = |second: &u64| window.sum(start + Duration::from_secs(*second)).started;
        seconds.iter().map(sum).collect()
    }

    #[test]
    fn counts_are_spread_over_the_time_they_cover() {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(60), start);
        let at = |second| start + Duration::from_secs(second);
        let counts = Counts {
            started: 401,
            sampled: 0,
        };
        window.add(counts, at(10), at(30));
        // A late one of another process, and one that is older than the window.
        window.add(counts, at(10), at(30));
        let found = sums(&mut window, start, &[30, 69, 75, 80, 88, 89]);
        assert_eq!(found, [802, 802, 562, 362, 42, 0]);
        window.add(counts, at(0), at(20));
        assert_eq!(sums(&mut window, start, &[92]), [0]);
    }

    #[test]
    fn what_was_before_its_first_moment_counts() {
        let start = Instant::now() + Duration::from_secs(1000);
        let mut window = Window::new(Duration::from_secs(60), start);
        let counts = Counts {
            started: 300,
            sampled: 0,
        };
        let before = start - Duration::from_secs(30);
        window.add(counts, before, start);
        assert_eq!(window.spans(start), Duration::from_secs(30));
        assert_eq!(
            sums(&mut window, start, &[0, 29, 45, 61]),
            [300, 300, 140, 0]
        );
        // Of a report that covers ten minutes, a second's worth lies in each bucket.
        window.add(
            counts,
            start - Duration::from_secs(540),
            start + Duration::from_secs(60),
        );
        assert_eq!(sums(&mut window, start, &[61]), [29]);
    }
}
