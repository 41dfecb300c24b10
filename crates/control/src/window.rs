//! Counts over a sliding window of time, in a ring of buckets.

use std::time::{Duration, Instant};

use crate::counts::Counts;

/// The number of buckets: one per second of the default window.
const BUCKET_COUNT: usize = 60;

/// Counts over a window that slides in steps of one bucket.
#[derive(Debug)]
pub(crate) struct Window {
    length: Duration,
    /// One length before the window begins: reports may cover time before that.
    origin: Instant,
    started: Instant,
    /// The number, since the origin, of the newest bucket.
    newest: u64,
    buckets: [Counts; BUCKET_COUNT],
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        // Buckets must not be empty intervals, since times are divided by their length.
        let length = length.max(Duration::from_millis(1));
        let mut window = Self {
            length,
            origin: now.checked_sub(length).unwrap_or(now),
            started: now,
            newest: 0,
            buckets: [Counts::default(); BUCKET_COUNT],
        };
        window.newest = window.bucket(now);
        window
    }

    /// Adds counts made between two moments, spread evenly. The part before the window is ignored.
    pub(crate) fn add(&mut self, counts: Counts, from: Instant, to: Instant) {
        // Buckets are reused, so old counts must go before new ones are added.
        self.slide(to);
        let from = from.min(to);
        let oldest = (self.newest + 1).saturating_sub(BUCKET_COUNT as u64);
        let until = |at: Instant| counts.part(at.saturating_duration_since(from), to - from);
        let first = self.bucket(from).max(oldest);
        let mut before = match from == to {
            true => Counts::default(),
            false => until(self.start_of(first)),
        };
        // Each bucket gets the cumulative count at its end less that of the bucket before, so that
        // rounding loses nothing.
        for bucket in first..=self.bucket(to) {
            let after = until(self.start_of(bucket + 1).min(to));
            if let Some(sum) = self.buckets.get_mut(slot(bucket)) {
                *sum += after.since(before);
            }
            before = after;
        }
    }

    /// The counts in the window.
    pub(crate) fn sum(&mut self, now: Instant) -> Counts {
        self.slide(now);
        let mut sum = Counts::default();
        for bucket in &self.buckets {
            sum += *bucket;
        }
        sum
    }

    /// The most of the traces in the window that a limit per second allows.
    ///
    /// Buckets are independent: an unused part of the limit does not carry over to the next one. The
    /// first and the last one are not whole, so the time covered bounds the sum.
    pub(crate) fn allowed(&mut self, per_second: f64, now: Instant) -> f64 {
        self.slide(now);
        let max_started = per_second * self.step().as_secs_f64();
        let started = self.buckets.iter().map(|bucket| bucket.started as f64);
        let by_bucket: f64 = started.map(|started| started.min(max_started)).sum();
        by_bucket.min(per_second * self.covered(now).as_secs_f64())
    }

    /// The time covered: the window's length, or its age while that is less. Counts of a process that
    /// claims to be older do not extend it: that would hide more sampled traces than a limit allows.
    pub(crate) fn covered(&self, now: Instant) -> Duration {
        self.length.min(now.saturating_duration_since(self.started))
    }

    /// Advances to a moment, and empties the buckets that are reused.
    fn slide(&mut self, now: Instant) {
        let current = self.bucket(now);
        let passed = current.saturating_sub(self.newest).min(BUCKET_COUNT as u64);
        for step in 0..passed {
            if let Some(bucket) = self.buckets.get_mut(slot(current - step)) {
                *bucket = Counts::default();
            }
        }
        self.newest = self.newest.max(current);
    }

    /// The number of the bucket that a moment falls in.
    fn bucket(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.origin);
        u64::try_from(age.as_nanos() / self.step().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment when a bucket begins.
    fn start_of(&self, bucket: u64) -> Instant {
        let nanos = self.step().as_nanos().saturating_mul(bucket.into());
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.origin + Duration::from_nanos(nanos)
    }

    fn step(&self) -> Duration {
        (self.length / BUCKET_COUNT as u32).max(Duration::from_nanos(1))
    }
}

fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKET_COUNT as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The window's sum equals a plain sum over the same buckets.
        #[test]
        fn sums_the_last_buckets(
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
        // A late report of another process. Below, one that is older than the window.
        window.add(counts, at(10), at(30));
        let sums_over_time = sums(&mut window, start, &[30, 69, 75, 80, 88, 89]);
        assert_eq!(sums_over_time, [802, 802, 562, 362, 42, 0]);
        window.add(counts, at(0), at(20));
        assert_eq!(sums(&mut window, start, &[92]), [0]);
    }

    #[test]
    fn counts_before_creation_are_included() {
        let start = Instant::now() + Duration::from_secs(1000);
        let mut window = Window::new(Duration::from_secs(60), start);
        let counts = Counts {
            started: 300,
            sampled: 0,
        };
        let before = start - Duration::from_secs(30);
        window.add(counts, before, start);
        assert_eq!(window.covered(start), Duration::ZERO);
        assert_eq!(
            sums(&mut window, start, &[0, 29, 45, 61]),
            [300, 300, 140, 0]
        );
        // A report that covers ten minutes puts one second's worth into each bucket.
        window.add(
            counts,
            start - Duration::from_secs(540),
            start + Duration::from_secs(60),
        );
        assert_eq!(sums(&mut window, start, &[61]), [29]);
    }
}
