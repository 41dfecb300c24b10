//! A circuit breaker, which stops requests to a failing peer and tries again later.

use std::time::{Duration, Instant};

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// Counts the states, so that what was begun in an earlier one does not decide on this one.
    age: u64,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probe_until: Instant },
}

/// The state of a breaker, for spans and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub(super) struct Pass {
    /// The state that it was given in.
    pub(super) state: BreakerState,
    age: u64,
}

/// The refusal of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The time until requests are permitted again.
    pub(super) wait: Duration,
}

impl Breaker {
    /// The number of consecutive failures that opens the breaker.
    pub(super) const MAX_FAILURES: u32 = 5;
    /// The time for which the breaker stays open, and after which a probe counts as lost.
    pub(super) const OPEN_FOR: Duration = Duration::from_secs(5);

    pub(super) fn closed() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            age: 0,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The time until the breaker permits requests again, or zero if it is not open.
    pub(super) fn open_for(&self, now: Instant) -> Duration {
        match self.state {
            State::Open { until } => until.saturating_duration_since(now),
            State::Closed { .. } | State::HalfOpen { .. } => Duration::ZERO,
        }
    }

    /// Requests a pass.
    pub(super) fn pass(&mut self, now: Instant) -> Result<Pass, Refused> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until: wait } | State::HalfOpen { probe_until: wait } if now < wait => {
                return Err(Refused { wait: wait - now });
            }
            State::Open { .. } | State::HalfOpen { .. } => self.turn(State::HalfOpen {
                probe_until: now + Self::OPEN_FOR,
            }),
        }
        Ok(Pass {
            state: self.state(),
            age: self.age,
        })
    }

    /// Reports that the peer responded.
    pub(super) fn succeeded(&mut self, pass: Pass) {
        if pass.age != self.age {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            State::Open { .. } => {}
            State::HalfOpen { .. } => self.turn(State::Closed { failures: 0 }),
        }
    }

    /// Reports that the peer failed.
    pub(super) fn failed(&mut self, pass: Pass, now: Instant) {
        if pass.age != self.age {
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
            self.turn(State::Open {
                until: now + Self::OPEN_FOR,
            });
        }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.age += 1;
    }
}

impl BreakerState {
    /// Every one.
    pub(super) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::closed();
        for _ in 0..Breaker::MAX_FAILURES {
            let pass = breaker.pass(now).unwrap();
            breaker.failed(pass, now);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let now = Instant::now();
        let mut breaker = Breaker::closed();
        for failure in 1..10 * Breaker::MAX_FAILURES {
            let pass = breaker.pass(now).unwrap();
            if failure.is_multiple_of(Breaker::MAX_FAILURES) {
                breaker.succeeded(pass);
            } else {
                breaker.failed(pass, now);
            }
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        assert_eq!(breaker.open_for(now), Duration::ZERO);
        let mut breaker = opened(now);
        assert_eq!(breaker.open_for(now), Breaker::OPEN_FOR);
        assert_eq!(breaker.pass(now).unwrap_err().wait, Breaker::OPEN_FOR);
    }

    #[rstest::rstest]
    #[case(true, BreakerState::Closed)]
    #[case(false, BreakerState::Open)]
    fn one_probe_decides(#[case] succeeds: bool, #[case] then: BreakerState) {
        let mut breaker = opened(Instant::now());
        let later = Instant::now() + Breaker::OPEN_FOR;
        let probe = breaker.pass(later).unwrap();
        assert_eq!(probe.state, BreakerState::HalfOpen);
        assert!(breaker.pass(later).is_err(), "only one");
        if succeeds {
            breaker.succeeded(probe);
        } else {
            breaker.failed(probe, later);
        }
        assert_eq!(breaker.state(), then);
    }

    #[test]
    fn a_probe_that_says_nothing_is_followed_by_another() {
        let mut breaker = opened(Instant::now());
        let later = Instant::now() + Breaker::OPEN_FOR;
        let lost = breaker.pass(later).unwrap();
        let probe = breaker.pass(later + Breaker::OPEN_FOR).unwrap();
        breaker.failed(lost, later + Breaker::OPEN_FOR);
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "it comes too late");
        breaker.succeeded(probe);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn what_was_begun_before_it_opened_does_not_close_it() {
        let now = Instant::now();
        let mut breaker = Breaker::closed();
        let slow = breaker.pass(now).unwrap();
        for _ in 0..Breaker::MAX_FAILURES {
            let pass = breaker.pass(now).unwrap();
            breaker.failed(pass, now);
        }
        let later = now + Breaker::OPEN_FOR;
        breaker.pass(later).unwrap();
        breaker.succeeded(slow);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    proptest! {
        /// Whatever happens, a peer that is well again is asked again within the time that a
        /// breaker stays open, and one that is away is asked once in that time at most.
        #[test]
        fn it_never_stays_shut_and_never_floods(
            steps in prop::collection::vec((0..4000_u64, any::<bool>()), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut breaker = Breaker::closed();
            let mut probed: Option<Instant> = None;
            for (millis, succeeds) in steps {
                now += Duration::from_millis(millis);
                let was = breaker.state();
                match breaker.pass(now) {
                    Ok(pass) => {
                        if was != BreakerState::Closed {
                            prop_assert!(probed.is_none_or(|at| now - at >= Breaker::OPEN_FOR));
                            probed = Some(now);
                        }
                        if succeeds { breaker.succeeded(pass) } else { breaker.failed(pass, now) }
                        if breaker.state() == BreakerState::Closed { probed = None }
                    }
                    Err(refused) => {
                        prop_assert!(was != BreakerState::Closed);
                        prop_assert!(refused.wait <= Breaker::OPEN_FOR);
                    }
                }
            }
            let pass = breaker.pass(now + Breaker::OPEN_FOR);
            prop_assert!(pass.is_ok());
            breaker.succeeded(pass.unwrap());
            prop_assert_eq!(breaker.state(), BreakerState::Closed);
        }
    }
}
