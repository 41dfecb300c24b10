//! The scenarios with their defaults and schedules.

use std::time::Duration;

use super::{
    edge::Edge,
    schedule::{LoadPhase, Schedule},
};

/// A named pattern of load, displayed as its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, derive_more::Display)]
#[display(rename_all = "lowercase")]
pub enum Scenario {
    /// A constant rate, kept up even if responses are late.
    #[default]
    Steady,
    /// Workers that each wait for a response before the next request.
    Closed,
    /// A rate that rises linearly, reported in quarters.
    Ramp,
    /// A fifth of the rate, then the full rate at once, then a fifth again.
    Spike,
    /// A low rate for a long time, reported in quarters to show whether it gets slower.
    Soak,
    /// Images to classify.
    Images,
    /// Every edge in turn, which covers every path through the mesh.
    Mesh,
}

/// The defaults of a scenario's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The highest rate in requests per second; `None` for a closed loop.
    pub rate: Option<u32>,
    /// The duration of the load.
    pub duration: Duration,
    /// The number of connections, or of workers in a closed loop.
    pub connections: usize,
}

/// The ratio of the rate in a spike to the rate before and after it.
const SPIKE_FACTOR: f64 = 5.0;
const QUARTERS: u32 = 4;

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 7] = [
        Self::Steady,
        Self::Closed,
        Self::Ramp,
        Self::Spike,
        Self::Soak,
        Self::Images,
        Self::Mesh,
    ];

    /// A description in one line, for help.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Steady => "A constant rate, kept up even if responses are late",
            Self::Closed => "Workers that each wait for a response before the next request",
            Self::Ramp => "A rate that rises linearly, reported in quarters",
            Self::Spike => "A fifth of the rate, then the full rate at once, then a fifth again",
            Self::Soak => {
                "A low rate for a long time, reported in quarters to show whether it gets slower"
            }
            Self::Images => "Images to classify",
            Self::Mesh => "Every edge in turn, which covers every path through the mesh",
        }
    }

    /// The defaults of the scenario's options.
    #[must_use]
    pub fn defaults(self) -> Defaults {
        let open = |rate, seconds| Defaults {
            rate: Some(rate),
            duration: Duration::from_secs(seconds),
            connections: 256,
        };
        match self {
            // service-b computes for about 5 ms per request, so this uses a quarter of a CPU.
            Self::Steady => open(50, 10),
            Self::Closed => Defaults {
                rate: None,
                duration: Duration::from_secs(10),
                connections: 16,
            },
            Self::Ramp => open(400, 40),
            Self::Spike => open(500, 30),
            Self::Soak => open(50, 3600),
            Self::Images => open(5, 20),
            Self::Mesh => open(50, 30),
        }
    }

    /// The services that requests are sent to.
    #[must_use]
    pub fn edges(self) -> &'static [Edge] {
        match self {
            Self::Images => &[Edge::Preprocessing],
            Self::Mesh => &Edge::ALL,
            Self::Steady | Self::Closed | Self::Ramp | Self::Spike | Self::Soak => {
                &[Edge::ServiceA]
            }
        }
    }

    /// True if the path to request can be chosen.
    #[must_use]
    pub fn accepts_path(self) -> bool {
        !matches!(self, Self::Images | Self::Mesh)
    }

    /// The schedule for a rate and duration.
    #[must_use]
    pub fn schedule(self, rate: u32, duration: Duration) -> Schedule {
        let rate = f64::from(rate);
        let quarter = duration / QUARTERS;
        let quarters = (1..=QUARTERS).map(f64::from);
        Schedule(match self {
            // In quarters, so that the table shows at which rate the latency begins to rise.
            Self::Ramp => quarters
                .map(|number| {
                    let step = rate / f64::from(QUARTERS);
                    let (from, to) = (step * (number - 1.0), step * number);
                    let name = format!("{from:.0} to {to:.0} per second");
                    LoadPhase::linear(name, quarter, from, to)
                })
                .collect(),
            // Half of the time is after the spike, to show how long it takes to recover.
            Self::Spike => vec![
                LoadPhase::even("before", duration / 3, rate / SPIKE_FACTOR),
                LoadPhase::even("spike", duration / 6, rate),
                LoadPhase::even("after", duration / 2, rate / SPIKE_FACTOR),
            ],
            Self::Soak => quarters
                .map(|number| LoadPhase::even(format!("quarter {number:.0}"), quarter, rate))
                .collect(),
            Self::Steady | Self::Closed | Self::Images | Self::Mesh => {
                vec![LoadPhase::even(self.to_string(), duration, rate)]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(Scenario::Steady, 500)]
    #[case(Scenario::Ramp, 8000)]
    #[case(Scenario::Spike, 5000)]
    #[case(Scenario::Soak, 180_000)]
    fn schedule_has_expected_number_of_requests(#[case] scenario: Scenario, #[case] requests: u64) {
        let defaults = scenario.defaults();
        let schedule = scenario.schedule(defaults.rate.unwrap(), defaults.duration);
        assert_eq!(schedule.requests(), requests);
    }

    #[test]
    fn every_scenario_is_described() {
        for scenario in Scenario::ALL {
            assert!(!scenario.description().is_empty(), "{scenario:?}");
            assert!(!scenario.edges().is_empty(), "{scenario:?}");
        }
    }
}
