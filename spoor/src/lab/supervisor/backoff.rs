//! How long to wait before a service that died is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process that lived this long has earned a quick restart.
const LIVED: Duration = Duration::from_secs(30);

/// Doubles with each early death.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait after a process that lived so long.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LIVED {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
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
        assert_eq!(backoff.after(LIVED), FIRST);
    }
}
