//! The scenarios: what each is for, its figures unless told otherwise, and its schedule.

use std::time::Duration;

use clap::ValueEnum;

use super::schedule::{Phase, Schedule};
use crate::service::Service;

/// A kind of load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One rate, kept whether or not it is answered in time
    #[default]
    Steady,
    /// So many workers, each waits for its answer before it asks again
    Closed,
    /// A rate that rises in a line, in four parts
    Ramp,
    /// A fifth of the rate, then all of it at once, then a fifth again
    Spike,
    /// A low rate for long, in four parts: does it get slower?
    Soak,
    /// Pictures to classify
    Images,
    /// Every edge in turn: each way through the mesh
    Mesh,
}

/// What holds unless an option says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Requests a second at the most; none in a closed loop.
    pub rate: Option<u32>,
    /// How long.
    pub duration: Duration,
    /// Connections, or workers.
    pub connections: usize,
}

/// Outside of a spike the rate is the spike's through this.
const SPIKE: f64 = 5.0;
const QUARTERS: u32 = 4;

impl Scenario {
    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Closed => "closed",
            Self::Ramp => "ramp",
            Self::Spike => "spike",
            Self::Soak => "soak",
            Self::Images => "images",
            Self::Mesh => "mesh",
        }
    }

    /// What it is, in a line.
    pub fn description(self) -> String {
        let value = self.to_possible_value();
        let help = value.and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Its figures.
    pub fn defaults(self) -> Defaults {
        let open = |rate, seconds| Defaults {
            rate: Some(rate),
            duration: Duration::from_secs(seconds),
            connections: 256,
        };
        match self {
            // service-b computes for some 10 ms for each: half a processor.
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

    /// To whom it sends, unless told where else.
    pub fn edges(self) -> Vec<Service> {
        match self {
            Self::Images => vec![Service::Preprocessing],
            Self::Mesh => Service::ALL.into_iter().filter(|it| it.is_edge()).collect(),
            Self::Steady | Self::Closed | Self::Ramp | Self::Spike | Self::Soak => {
                vec![Service::ServiceA]
            }
        }
    }

    /// Whether a path can be chosen for it.
    pub fn takes_a_path(self) -> bool {
        !matches!(self, Self::Images | Self::Mesh)
    }

    /// Its schedule at this rate.
    pub fn schedule(self, rate: u32, duration: Duration) -> Schedule {
        let rate = f64::from(rate);
        let quarter = duration / QUARTERS;
        let quarters = (1..=QUARTERS).map(f64::from);
        Schedule::new(match self {
            Self::Ramp => quarters
                .map(|quarter| rate * quarter / f64::from(QUARTERS))
                .map(|to| (to - rate / f64::from(QUARTERS), to))
                .map(|(from, to)| {
                    Phase::rising(format!("{from:.0} to {to:.0} a second"), quarter, from, to)
                })
                .collect(),
            Self::Spike => vec![
                Phase::even("before", duration / 3, rate / SPIKE),
                Phase::even("spike", duration / 6, rate),
                Phase::even("after", duration / 2, rate / SPIKE),
            ],
            Self::Soak => quarters
                .map(|number| Phase::even(format!("quarter {number:.0}"), quarter, rate))
                .collect(),
            Self::Steady | Self::Closed | Self::Images | Self::Mesh => {
                vec![Phase::even(self.name(), duration, rate)]
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
    fn a_schedule_comes_to_this_many_requests(#[case] scenario: Scenario, #[case] requests: u64) {
        let defaults = scenario.defaults();
        let schedule = scenario.schedule(defaults.rate.unwrap(), defaults.duration);
        assert_eq!(schedule.requests(), requests);
    }

    #[test]
    fn every_scenario_is_described() {
        for scenario in Scenario::value_variants() {
            assert!(!scenario.description().is_empty(), "{scenario:?}");
            assert!(!scenario.edges().is_empty(), "{scenario:?}");
        }
    }
}
