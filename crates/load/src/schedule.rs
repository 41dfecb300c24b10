//! The schedule of an open loop: the times at which requests are due.

use std::time::Duration;

/// A period in which the rate changes linearly from one value to another.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadPhase {
    /// The name in tables.
    pub name: String,
    /// The duration.
    pub lasts: Duration,
    /// Requests per second at the start.
    pub from: f64,
    /// Requests per second at the end.
    pub to: f64,
}

/// A sequence of phases.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule(pub Vec<LoadPhase>);

impl LoadPhase {
    /// A phase with a constant rate.
    #[must_use]
    pub fn even(name: impl Into<String>, lasts: Duration, rate: f64) -> Self {
        Self::linear(name, lasts, rate, rate)
    }

    /// A phase whose rate changes from one value to another.
    #[must_use]
    pub fn linear(name: impl Into<String>, lasts: Duration, from: f64, to: f64) -> Self {
        Self {
            name: name.into(),
            lasts,
            from: from.max(0.0),
            to: to.max(0.0),
        }
    }

    /// The number of requests due in the phase, which need not be an integer.
    fn requests(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.lasts.as_secs_f64()
    }

    /// The time after which this many requests were due.
    fn time_of(&self, requests: f64) -> Duration {
        if requests <= 0.0 {
            return Duration::ZERO;
        }
        let slope = (self.to - self.from) / self.lasts.as_secs_f64();
        // The root of from·t + slope·t²/2 = requests. The usual quadratic formula subtracts two
        // nearly equal numbers when the slope is small; this form does not.
        let square = self.from * self.from + 2.0 * slope * requests;
        let root = square.max(0.0).sqrt();
        let seconds = 2.0 * requests / (self.from + root);
        Duration::try_from_secs_f64(seconds).map_or(self.lasts, |after| after.min(self.lasts))
    }
}

impl Schedule {
    /// The total number of requests due.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let due: f64 = self.0.iter().map(LoadPhase::requests).sum();
        // The tolerance is for rounding errors of the sum, which must not add a request.
        (due - 1e-6).ceil() as u64
    }

    /// The time since the start at which a request is due, numbered from zero, and the position of
    /// its phase. `None` after the last.
    pub(super) fn due(&self, number: u64) -> Option<(Duration, usize)> {
        if number >= self.requests() {
            return None;
        }
        let mut left = number as f64;
        let mut began = Duration::ZERO;
        let last = self.0.len().checked_sub(1)?;
        for (position, phase) in self.0.iter().enumerate() {
            let requests = phase.requests();
            // The last phase takes the request that rounding may leave over.
            if left < requests || position == last {
                return Some((began + phase.time_of(left), position));
            }
            left -= requests;
            began += phase.lasts;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn even_rate_spaces_requests_evenly() {
        let schedule = Schedule(vec![LoadPhase::even("steady", 2 * SECOND, 4.0)]);
        let due: Vec<u128> = (0..8)
            .map(|number| schedule.due(number).unwrap().0.as_millis())
            .collect();
        assert_eq!(due, [0, 250, 500, 750, 1000, 1250, 1500, 1750]);
        assert_eq!((schedule.requests(), schedule.due(8)), (8, None));
    }

    #[test]
    fn ramp_sends_three_quarters_in_its_second_half() {
        let schedule = Schedule(vec![LoadPhase::linear("up", 10 * SECOND, 0.0, 100.0)]);
        assert_eq!(schedule.requests(), 500);
        assert_eq!(schedule.due(125), Some((5 * SECOND, 0)));
    }

    #[test]
    fn a_phase_begins_where_the_last_ended() {
        let schedule = Schedule(vec![
            LoadPhase::even("before", SECOND, 2.0),
            LoadPhase::even("spike", SECOND, 10.0),
        ]);
        assert_eq!(schedule.due(2), Some((SECOND, 1)));
    }

    proptest! {
        #[test]
        fn due_times_are_in_order_and_in_the_phases(
            rates in prop::collection::vec((0.0..500.0, 0.0..500.0, 1_u64..3000), 1..5),
        ) {
            let phases: Vec<LoadPhase> = rates
                .iter()
                .map(|(from, to, millis)| {
                    LoadPhase::linear("any", Duration::from_millis(*millis), *from, *to)
                })
                .collect();
            let total: Duration = phases.iter().map(|phase| phase.lasts).sum();
            let schedule = Schedule(phases);
            let due: Vec<Duration> = (0..schedule.requests())
                .map(|number| schedule.due(number).unwrap().0)
                .collect();
            prop_assert!(due.is_sorted());
            prop_assert!(due.iter().all(|after| *after <= total));
        }
    }
}
