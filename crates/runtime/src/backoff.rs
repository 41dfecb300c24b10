//! The delay before the next attempt.

use std::time::Duration;

use rand::RngExt;

/// Delays that double with each failure, up to a maximum. A random factor from 0.5 to 1 keeps
/// clients that were disconnected together from reconnecting together.
// Not backon, for two reasons. It adds jitter after it applies the maximum, so a delay can be twice
// as long. And its maximum is fixed in advance, while a client that is denied has to wait
// longer than one that cannot connect. The operator's watches need neither, and use backon through
// kube.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    /// Creates a backoff whose first delay is at most `first`.
    #[must_use]
    pub fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// Returns the delay before the next attempt, at most `max`.
    pub fn next_delay(&mut self, max: Duration) -> Duration {
        let delay = self.next.min(max);
        self.next = delay.saturating_mul(2);
        delay.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts again at the first delay, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_maximum() {
        let first = Duration::from_millis(50);
        let max = Duration::from_millis(800);
        let mut backoff = Backoff::new(first);
        for _ in 0..10 {
            assert!(backoff.next_delay(max) <= max);
        }
        assert!(backoff.next_delay(max) >= max / 2);
        backoff.reset();
        assert!(backoff.next_delay(max) <= first);
    }
}
