//! A circuit breaker, which stops requests to a failing peer and tries again later.

use std::time::{Duration, Instant};

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// The number of state changes, so that results of requests permitted in an earlier state are
    /// ignored.
    generation: u64,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probe_until: Instant },
}

/// The state of a breaker, for spans and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display)]
#[display(rename_all = "snake_case")]
pub(super) enum BreakerState {
    /// Requests are permitted.
    Closed,
    /// Requests are refused.
    Open,
    /// One request probes whether the peer has recovered.
    HalfOpen,
}

/// A permission for one request, whose result must be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// The state in which it was granted.
    pub(super) state: BreakerState,
    generation: u64,
}

impl Breaker {
    /// The number of consecutive failures that opens the breaker.
    pub(super) const MAX_FAILURES: u32 = 5;
    /// The time for which the breaker stays open, and after which a probe without a result is replaced.
    pub(super) const OPEN_DURATION: Duration = Duration::from_secs(5);

    pub(super) fn closed() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            generation: 0,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The time until the breaker permits a probe, or zero if it is not open.
    pub(super) fn time_until_probe(&self, now: Instant) -> Duration {
        match self.state {
            State::Open { until } => until.saturating_duration_since(now),
            State::Closed { .. } | State::HalfOpen { .. } => Duration::ZERO,
        }
    }

    /// Acquires a permit for one request.
    ///
    /// # Errors
    /// If no request is permitted now: the time until one is permitted again.
    pub(super) fn acquire(&mut self, now: Instant) -> Result<Permit, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until: wait } | State::HalfOpen { probe_until: wait } if now < wait => {
                return Err(wait - now);
            }
            // A half-open breaker gets here too: its probe was cancelled or lost, and another may follow.
            State::Open { .. } | State::HalfOpen { .. } => self.transition(State::HalfOpen {
                probe_until: now + Self::OPEN_DURATION,
            }),
        }
        Ok(Permit {
            state: self.state(),
            generation: self.generation,
        })
    }

    /// Reports that the peer responded.
    pub(super) fn record_success(&mut self, permit: Permit) {
        if permit.generation != self.generation {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            State::Open { .. } => {}
            State::HalfOpen { .. } => self.transition(State::Closed { failures: 0 }),
        }
    }

    /// Reports that the peer failed.
    pub(super) fn record_failure(&mut self, permit: Permit, now: Instant) {
        if permit.generation != self.generation {
            return;
        }
        let opens = match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                *failures >= Self::MAX_FAILURES
            }
            State::Open { .. } => false,
            State::HalfOpen { .. } => true,
        };
        if opens {
            self.transition(State::Open {
                until: now + Self::OPEN_DURATION,
            });
        }
    }

    fn transition(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

impl BreakerState {
    /// All states.
    pub(super) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::closed();
        for _ in 0..Breaker::MAX_FAILURES {
            let permit = breaker.acquire(now).unwrap();
            breaker.record_failure(permit, now);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn only_consecutive_failures_open_the_breaker() {
        let now = Instant::now();
        let mut breaker = Breaker::closed();
        for failure in 1..10 * Breaker::MAX_FAILURES {
            let permit = breaker.acquire(now).unwrap();
            if failure.is_multiple_of(Breaker::MAX_FAILURES) {
                breaker.record_success(permit);
            } else {
                breaker.record_failure(permit, now);
            }
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        assert_eq!(breaker.time_until_probe(now), Duration::ZERO);
        let mut breaker = opened(now);
        assert_eq!(breaker.time_until_probe(now), Breaker::OPEN_DURATION);
        assert_eq!(breaker.acquire(now), Err(Breaker::OPEN_DURATION));
    }

    #[rstest::rstest]
    #[case(true, BreakerState::Closed)]
    #[case(false, BreakerState::Open)]
    fn one_probe_decides(#[case] succeeds: bool, #[case] then: BreakerState) {
        let mut breaker = opened(Instant::now());
        let later = Instant::now() + Breaker::OPEN_DURATION;
        let probe = breaker.acquire(later).unwrap();
        assert_eq!(probe.state, BreakerState::HalfOpen);
        assert!(breaker.acquire(later).is_err(), "only one");
        if succeeds {
            breaker.record_success(probe);
        } else {
            breaker.record_failure(probe, later);
        }
        assert_eq!(breaker.state(), then);
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let mut breaker = opened(Instant::now());
        let later = Instant::now() + Breaker::OPEN_DURATION;
        let lost = breaker.acquire(later).unwrap();
        let probe = breaker.acquire(later + Breaker::OPEN_DURATION).unwrap();
        breaker.record_failure(lost, later + Breaker::OPEN_DURATION);
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "it comes too late");
        breaker.record_success(probe);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn results_of_an_earlier_state_are_ignored() {
        let now = Instant::now();
        let mut breaker = Breaker::closed();
        let slow = breaker.acquire(now).unwrap();
        for _ in 0..Breaker::MAX_FAILURES {
            let permit = breaker.acquire(now).unwrap();
            breaker.record_failure(permit, now);
        }
        let later = now + Breaker::OPEN_DURATION;
        breaker.acquire(later).unwrap();
        breaker.record_success(slow);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    proptest! {
        /// A recovered peer is called within the time that a breaker stays open, and a failing one at
        /// most once in that time.
        #[test]
        fn probes_are_neither_missing_nor_frequent(
            steps in prop::collection::vec((0..4000_u64, any::<bool>()), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut breaker = Breaker::closed();
            let mut probed: Option<Instant> = None;
            for (millis, succeeds) in steps {
                now += Duration::from_millis(millis);
                let was = breaker.state();
                match breaker.acquire(now) {
                    Ok(permit) => {
                        if was != BreakerState::Closed {
                            prop_assert!(probed.is_none_or(|at| now - at >= Breaker::OPEN_DURATION));
                            probed = Some(now);
                        }
                        if succeeds { breaker.record_success(permit) } else { breaker.record_failure(permit, now) }
                        if breaker.state() == BreakerState::Closed { probed = None }
                    }
                    Err(wait) => {
                        prop_assert!(was != BreakerState::Closed);
                        prop_assert!(wait <= Breaker::OPEN_DURATION);
                    }
                }
            }
            let permit = breaker.acquire(now + Breaker::OPEN_DURATION);
            prop_assert!(permit.is_ok());
            breaker.record_success(permit.unwrap());
            prop_assert_eq!(breaker.state(), BreakerState::Closed);
        }
    }
}
