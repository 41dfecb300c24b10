//! The rate limit of a marketplace.

use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    time::{Duration, Instant},
};

/// The most searches per second, which is also the largest burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(Option<NonZeroU32>);

/// The error for an invalid [`RateLimit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of searches per second such as 3, or none, not {0:?}")]
pub struct InvalidRateLimit(String);

/// A token bucket for a [`RateLimit`].
#[derive(Debug)]
pub(super) struct TokenBucket {
    limit: RateLimit,
    /// The time at which the whole limit is available again.
    full: Option<Instant>,
}

impl TokenBucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, full: None }
    }

    /// Acquires a token for one search.
    ///
    /// # Errors
    /// The time until the next search is permitted.
    pub(super) fn acquire(&mut self, now: Instant) -> Result<(), Duration> {
        let RateLimit(Some(per_second)) = self.limit else {
            return Ok(());
        };
        // The bucket is stored as the time at which it will be full. It holds as many tokens as a second
        // adds.
        let interval = Duration::from_secs(1) / per_second.get();
        let full = self.full.map_or(now, |full| full.max(now)) + interval;
        let wait = full.saturating_duration_since(now + Duration::from_secs(1));
        if wait.is_zero() {
            self.full = Some(full);
            Ok(())
        } else {
            Err(wait)
        }
    }
}

impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    fn from_str(text: &str) -> Result<Self, InvalidRateLimit> {
        if text == "none" {
            return Ok(Self(None));
        }
        let limit = text
            .parse()
            .map_err(|_| InvalidRateLimit(text.to_owned()))?;
        Ok(Self(Some(limit)))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => limit.fmt(f),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_admits_one_second_of_searches() {
        let mut bucket = TokenBucket::new("3".parse().unwrap());
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(bucket.acquire(now), Ok(()));
        }
        let wait = bucket.acquire(now).unwrap_err();
        assert!(wait > Duration::from_millis(300) && wait <= Duration::from_millis(334));
        assert_eq!(bucket.acquire(now + wait), Ok(()));
        assert!(bucket.acquire(now + wait).is_err());
    }

    #[test]
    fn no_limit_admits_every_search() {
        let mut bucket = TokenBucket::new("none".parse().unwrap());
        let now = Instant::now();
        assert!((0..1000).all(|_| bucket.acquire(now).is_ok()));
    }

    proptest! {
        #[test]
        fn admits_at_its_rate_after_the_wait(
            per_second in 1..50_u32,
            steps in prop::collection::vec(0..200_u64, 1..300),
        ) {
            let mut bucket = TokenBucket::new(RateLimit(NonZeroU32::new(per_second)));
            let start = Instant::now();
            let mut now = start;
            let mut admitted = 0_u32;
            for step in steps {
                now += Duration::from_millis(step);
                match bucket.acquire(now) {
                    Ok(()) => admitted += 1,
                    Err(wait) => {
                        now += wait;
                        prop_assert_eq!(bucket.acquire(now), Ok(()));
                        admitted += 1;
                    }
                }
            }
            let seconds = (now - start).as_secs_f64();
            prop_assert!(f64::from(admitted) <= f64::from(per_second) * (seconds + 1.0) + 1.0);
        }
    }

    #[rstest::rstest]
    #[case("0")]
    #[case("-1")]
    #[case("1.5")]
    #[case("")]
    #[case("all")]
    fn invalid_limits_are_refused(#[case] text: &str) {
        assert!(text.parse::<RateLimit>().is_err());
    }
}
