//! A token bucket without locks.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The state of a bucket: the time at which it is full, in nanoseconds of [`now`]. The buckets of
/// later phases and plans for the same operation share it.
pub(super) type Level = Arc<AtomicU64>;

/// The time for which a slow bucket saves tokens, and their number.
///
/// With a limit of 1 trace/s for each instance, and requests that arrive independently at two thirds
/// of that rate, a bucket of one token keeps 60 % of them, and one of five tokens 99 % (M/D/1/K).
const SAVED_SECONDS: f64 = 5.0;
const SAVED_TOKENS: f64 = 5.0;

/// A bucket that is filled at a rate. It holds the tokens of one second. If these are fewer than
/// five, it holds those of five seconds, but at most five. It always has room for one, and starts
/// with one.
///
/// This is the generic cell rate algorithm: the state is one number, and taking a token is one
/// compare-and-swap.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// The rate of the plan. Shares change only the values below.
    tokens_per_second: f64,
    /// The nanoseconds between two tokens.
    interval: AtomicU64,
    /// The nanoseconds between the first and the last token of a full bucket.
    tolerance: AtomicU64,
    pub(super) level: Level,
}

impl TokenBucket {
    /// The rate must be positive and finite. `level` is that of the bucket that this one replaces.
    pub(super) fn new(tokens_per_second: f64, level: Option<Level>, now: u64) -> Self {
        let (interval, tolerance) = timing(tokens_per_second);
        let one_token = now.saturating_add(tolerance);
        let level = level.unwrap_or_else(|| Arc::new(AtomicU64::new(one_token)));
        // A slower predecessor may have its next token later than one interval from now, which is
        // the latest time for this bucket. A lower level would add a token at each change of the
        // rate.
        level.fetch_min(one_token.saturating_add(interval), Ordering::Relaxed);
        Self {
            tokens_per_second,
            interval: AtomicU64::new(interval),
            tolerance: AtomicU64::new(tolerance),
            level,
        }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&self, now: u64) -> bool {
        let interval = self.interval.load(Ordering::Relaxed);
        let latest = now.saturating_add(self.tolerance.load(Ordering::Relaxed));
        self.level
            // Relaxed, since no other memory depends on the level.
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| {
                (level <= latest).then(|| level.max(now).saturating_add(interval))
            })
            .is_ok()
    }

    /// Multiplies the plan's rate by a positive, finite factor.
    pub(super) fn set_share(&self, factor: f64) {
        let (interval, tolerance) = timing(self.tokens_per_second * factor);
        // A decision between the two stores reads an old and a new value, and is off by at most a
        // token.
        self.interval.store(interval, Ordering::Relaxed);
        self.tolerance.store(tolerance, Ordering::Relaxed);
    }

    /// Changes the share of the bucket in force. It keeps as many of its tokens as fit. The level is
    /// a time that depends on the rate, so it must be converted.
    pub(super) fn set_share_in_force(&self, factor: f64, now: u64) {
        let interval = self.interval.load(Ordering::Relaxed);
        let empty = now
            .saturating_add(self.tolerance.load(Ordering::Relaxed))
            .saturating_add(interval);
        self.set_share(factor);
        let new_interval = self.interval.load(Ordering::Relaxed);
        let room = self.tolerance.load(Ordering::Relaxed) + new_interval;
        self.level
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |level| {
                let tokens = empty.saturating_sub(level.max(now)) as f64 / interval.max(1) as f64;
                let held = nanos(tokens * new_interval as f64 / 1e9).min(room);
                Some(now.saturating_add(room - held))
            })
            .ok();
    }
}

/// The nanoseconds between two tokens, and between the first and the last token of a full bucket.
fn timing(tokens_per_second: f64) -> (u64, u64) {
    let saved = SAVED_TOKENS.min(tokens_per_second * SAVED_SECONDS);
    let depth = tokens_per_second.max(saved).max(1.0);
    let interval = nanos(1.0 / tokens_per_second);
    (interval, nanos((depth - 1.0) / tokens_per_second))
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
    fn fast_bucket_saves_at_most_a_second() {
        let bucket = TokenBucket::new(10.0, None, 0);
        assert_eq!(taken(&bucket, 100 * SECOND, 100 * SECOND + 50, 1), 10);
    }

    #[rstest]
    #[case(0.1, 1)]
    #[case(0.5, 2)]
    #[case(1.0, 5)]
    #[case(4.0, 5)]
    #[case(7.0, 7)]
    fn slow_buckets_save_five_seconds(#[case] rate: f64, #[case] expected: u64) {
        let bucket = TokenBucket::new(rate, None, 0);
        assert_eq!(taken(&bucket, 100 * SECOND, 100 * SECOND + 50, 1), expected);
    }

    /// The tokens that a full bucket holds right after its share changes.
    #[rstest]
    #[case::grown(1.0, 4.0, 10)]
    #[case::shrunk(1.0, 0.1, 5)]
    #[case::shrunk_to_one(1.0, 0.01, 1)]
    #[case::the_same(1.0, 1.0, 10)]
    fn change_of_share_keeps_tokens(#[case] from: f64, #[case] to: f64, #[case] expected: u64) {
        let bucket = TokenBucket::new(10.0, None, 0);
        bucket.set_share_in_force(from, SECOND);
        let now = 100 * SECOND;
        bucket.set_share_in_force(to, now);
        assert_eq!(taken(&bucket, now, now + 50, 1), expected);
        let refilled = taken(&bucket, now + 50, now + 10 * SECOND + 50, 1_000_000);
        assert!(refilled.abs_diff((100.0 * to) as u64) <= 1, "{refilled}");
    }

    #[test]
    fn an_empty_bucket_stays_empty_when_it_grows() {
        let bucket = TokenBucket::new(10.0, None, 0);
        let now = 100 * SECOND;
        assert_eq!(taken(&bucket, now, now + 50, 1), 10);
        for factor in [0.1, 5.0, 0.01, 3.0] {
            bucket.set_share_in_force(factor, now + 50);
            assert!(!bucket.take(now + 50), "at {factor}");
        }
    }

    #[test]
    fn new_rate_continues_from_the_old_level() {
        let old = TokenBucket::new(10.0, None, 0);
        assert!(old.take(0));
        let new = TokenBucket::new(20.0, Some(Arc::clone(&old.level)), 1);
        assert!(!new.take(2), "no token for the change");
        assert!(new.take(SECOND / 20 + 1));
        assert!(!new.take(SECOND / 20 + 2));
    }

    #[test]
    fn a_slow_predecessor_does_not_block() {
        let old = TokenBucket::new(0.001, None, 0);
        assert!(old.take(0));
        let new = TokenBucket::new(100.0, Some(Arc::clone(&old.level)), SECOND);
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
        // The threads use different times, so the tokens of up to one second may be saved.
        assert!((90..=200).contains(&total), "{total}");
    }
}
