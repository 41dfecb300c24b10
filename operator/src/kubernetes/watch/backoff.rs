//! Delays between attempts, doubling each time, with jitter.

use std::time::Duration;

const MIN_DELAY: Duration = Duration::from_millis(100);
/// Short, since few processes wait for an API server that comes back, and each should notice soon.
const MAX_DELAY: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(MIN_DELAY)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let Self(pause) = *self;
        self.0 = (pause * 2).min(MAX_DELAY);
        Some(pause.mul_f64(rand::random_range(0.5..1.0)))
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_maximum() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = backoff.by_ref().take(20).collect();
        assert_eq!(pauses.len(), 20);
        assert!(pauses.iter().all(|pause| *pause <= MAX_DELAY));
        assert!(pauses.iter().skip(7).all(|pause| *pause >= MAX_DELAY / 2));
        kube::runtime::utils::Backoff::reset(&mut backoff);
        assert!(backoff.next().is_some_and(|pause| pause <= MIN_DELAY));
    }
}
