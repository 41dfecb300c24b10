//! Counts over the last so many seconds, in a ring of buckets.

use std::time::{Duration, Instant};

use crate::Counts;

const BUCKETS: usize = 60;

/// Slides by a sixtieth of its length.
#[derive(Debug)]
pub(crate) struct Window {
    length: Duration,
    started: Instant,
    /// The number, since the start, of the newest bucket.
    newest: u64,
    buckets: [Counts; BUCKETS],
}

impl Window {
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        Self {
            length: length.max(Duration::from_millis(1)),
            started: now,
            newest: 0,
            buckets: [Counts::default(); BUCKETS],
        }
    }

    pub(crate) fn add(&mut self, counts: Counts, now: Instant) {
        self.slide(now);
        let newest = slot(self.newest);
        if let Some(bucket) = self.buckets.get_mut(newest) {
            *bucket += counts;
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

    /// Its length, or its age while it is younger.
    pub(crate) fn spans(&self, now: Instant) -> Duration {
        self.length.min(now.saturating_duration_since(self.started))
    }

    /// Empties the buckets that time has passed over.
    fn slide(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.started);
        let bucket = (self.length / BUCKETS as u32).as_nanos().max(1);
        let current = u64::try_from(age.as_nanos() / bucket).unwrap_or(u64::MAX);
        let passed = current.saturating_sub(self.newest).min(BUCKETS as u64);
        for step in 0..passed {
            if let Some(bucket) = self.buckets.get_mut(slot(current - step)) {
                *bucket = Counts::default();
            }
        }
        self.newest = self.newest.max(current);
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
                window.add(Counts { started, sampled: started / 2 }, at);
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
}
