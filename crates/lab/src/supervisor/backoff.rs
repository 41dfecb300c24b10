//! The delay before a service that died is restarted.

use std::time::Duration;

const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);
/// The lifetime after which a process counts as stable, and the delay starts over.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// The delay, which doubles each time a process dies early.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: MIN_DELAY }
    }

    /// The delay after a process that lived for this time.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STABLE_AFTER {
            self.next = MIN_DELAY;
        }
        let wait = self.next;
        self.next = (wait * 2).min(MAX_DELAY);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit_and_starts_anew_after_a_long_life() {
        let mut backoff = Backoff::new();
        let early: Vec<u128> = (0..9)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            early,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(backoff.after(STABLE_AFTER), MIN_DELAY);
    }
}
