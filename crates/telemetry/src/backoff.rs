//! The delay before the next attempt.

use std::time::Duration;

use rand::RngExt;

/// Short at first, doubling up to a longest wait, each time somewhere between half of that and
/// all of it, so that clients that were cut off together don't come back together.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The longest that the first wait can be.
    pub const FIRST: Duration = Duration::from_millis(50);

    /// Begins with the shortest wait.
    #[must_use]
    pub fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The wait before the next attempt, at most so long.
    pub fn next(&mut self, longest: Duration) -> Duration {
        let wait = self.next.min(longest);
        self.next = wait.saturating_mul(2);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts over: the last attempt succeeded.
    pub fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_longest_and_starts_over() {
        let longest = Duration::from_millis(800);
        let mut backoff = Backoff::new();
        for _ in 0..10 {
            assert!(backoff.next(longest) <= longest);
        }
        assert!(backoff.next(longest) >= longest / 2);
        backoff.reset();
        assert!(backoff.next(longest) <= Backoff::FIRST);
    }
}
