//! A token bucket without locks.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a bucket remembers: when its next token would come if it held none, in nanoseconds of
/// [`now`]. Survives a change of the rate.
pub(super) type Level = Arc<AtomicU64>;

/// Gives so many tokens a second. Holds at most one second's worth, or one token, and starts
/// with one.
///
/// This is the generic cell rate algorithm: one number, and a token is one compare-and-swap.
#[derive(Debug)]
pub(super) struct TokenBucket {
    interval: u64,
    tolerance: u64,
    level: Level,
}

impl TokenBucket {
    /// Of a positive, finite rate. `level` is the one of the bucket that this one replaces.
    pub(super) fn new(tokens_per_second: f64, level: Option<Level>, now: u64) -> Self {
        let interval = nanos(1.0 / tokens_per_second);
        let tolerance = nanos((tokens_per_second.max(1.0) - 1.0) / tokens_per_second);
        let one_token = now.saturating_add(tolerance);
        let level = level.unwrap_or_else(|| Arc::new(AtomicU64::new(one_token)));
        // A slower predecessor may have put its next token further off than ours can be: one
        // interval from now. Not nearer, or each change of the rate would give a token away.
        level.fetch_min(one_token.saturating_add(interval), Ordering::Relaxed);
        Self {
            interval,
            tolerance,
            level,
        }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&self, now: u64) -> bool {
        let latest = now.saturating_add(self.tolerance);
        self.level
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| {
                (level <= latest).then(|| level.max(now).saturating_add(self.interval))
            })
            .is_ok()
    }

    pub(super) fn level(&self) -> &Level {
        &self.level
    }
}

/// Nanoseconds on a clock that never goes back.
pub(super) fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn nanos(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_nanos()).ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(bucket: &TokenBucket, from: u64, to: u64, step: u64) -> u64 {
        let mut now = from;
        let mut count = 0;
        while now < to {
            count += u64::from(bucket.take(now));
            now += step;
        }
        count
    }

    #[rstest]
    #[case(10.0, 100)]
    #[case(1.0, 10)]
    #[case(0.5, 5)]
    #[case(2.5, 25)]
    fn keeps_its_rate_from_the_start(#[case] rate: f64, #[case] expected: u64) {
        let bucket = TokenBucket::new(rate, None, 7);
        let count = taken(&bucket, 7, 7 + 10 * SECOND, 1_000_000);
        assert!(count.abs_diff(expected) <= 1, "{count} at {rate}/s in 10 s");
    }

    #[test]
    fn saves_at_most_a_second() {
        let bucket = TokenBucket::new(10.0, None, 0);
        assert_eq!(taken(&bucket, 100 * SECOND, 100 * SECOND + 50, 1), 10);
    }

    #[test]
    fn a_new_rate_goes_on_from_the_old_level() {
        let old = TokenBucket::new(10.0, None, 0);
        assert!(old.take(0));
        let new = TokenBucket::new(20.0, Some(Arc::clone(old.level())), 1);
        assert!(!new.take(2), "no token for the change");
        assert!(new.take(SECOND / 20 + 1));
        assert!(!new.take(SECOND / 20 + 2));
    }

    #[test]
    fn a_slow_predecessor_does_not_block() {
        let old = TokenBucket::new(0.001, None, 0);
        assert!(old.take(0));
        let new = TokenBucket::new(100.0, Some(Arc::clone(old.level())), SECOND);
        assert!(new.take(SECOND + SECOND / 100));
    }

    #[test]
    fn threads_share_one_rate() {
        let bucket = TokenBucket::new(100.0, None, 0);
        let total: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| taken(&bucket, 0, SECOND, 100_000)))
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .sum()
        });
        // Threads see different times here, so up to a second's worth may be saved.
        assert!((90..=200).contains(&total), "{total}");
    }
}
