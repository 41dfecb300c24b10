//! The traces that a process starts, by the entry of the plan that decides them.

use std::{collections::BTreeMap, time::Duration};

use super::{Operation, divide::Want};
use crate::ledger::Delta;

/// The time constants of the two averages: one that is steady, one that follows a change.
const STEADY: f64 = 15.0;
const FAST: f64 = 3.0;
/// Averages further apart than this many standard deviations are a change.
const CHANGE: f64 = 3.0;
/// The same for a demand to be over a share for certain.
const CERTAIN: f64 = 2.0;
/// Fewer traces a second than this are none.
const NONE: f64 = 1e-6;

/// The demand of a process, in traces a second; entries without any for long are not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands(BTreeMap<Operation, Demand>);

/// Two exponential averages of one rate.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    steady: f64,
    fast: f64,
}

impl Demands {
    /// Adds what was counted in so much time.
    pub(crate) fn add(&mut self, deltas: &[Delta], over: Duration) {
        let over = over.as_secs_f64();
        let mut started: BTreeMap<&Operation, u64> = BTreeMap::new();
        for delta in deltas {
            *started.entry(&delta.entry.operation).or_default() += delta.counts.started;
            self.0.entry(delta.entry.operation.clone()).or_default();
        }
        self.0.retain(|operation, demand| {
            demand.add(started.get(operation).copied().unwrap_or_default(), over);
            demand.fast.max(demand.steady) > NONE
        });
    }

    /// The demand under an entry, in equal shares of so many traces a second.
    pub(super) fn of(&self, operation: &Operation, equal: f64) -> Want {
        let demand = self.0.get(operation).copied().unwrap_or_default();
        // The variance of an exponential average of a Poisson process.
        let deviation = (demand.steady / (2.0 * STEADY)).sqrt();
        Want {
            demand: demand.steady / equal,
            certain: (demand.steady - CERTAIN * deviation) / equal,
            goal: 1.0,
        }
    }
}

impl Demand {
    fn add(&mut self, started: u64, over: f64) {
        let started = started as f64;
        let average = |before: f64, constant: f64| {
            let kept = (-over / constant).exp();
            let rate = match over > 0.0 {
                true => started / over * (1.0 - kept),
                false => started / constant,
            };
            before * kept + rate
        };
        self.fast = average(self.fast, FAST);
        self.steady = average(self.steady, STEADY);
        let deviation = (self.steady.max(1.0 / STEADY) / (2.0 * FAST)).sqrt();
        if (self.fast - self.steady).abs() > CHANGE * deviation {
            self.steady = self.fast;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Counts, ledger::Entry};

    fn delta(started: u64) -> Delta {
        Delta {
            entry: Entry {
                sequence: 1,
                operation: None,
            },
            phase: None,
            counts: Counts {
                started,
                sampled: 0,
            },
        }
    }

    /// The demand after each of so many seconds with so many traces.
    fn after(demands: &mut Demands, seconds: u32, started: u64) -> f64 {
        for _ in 0..seconds {
            demands.add(&[delta(started)], Duration::from_secs(1));
        }
        demands.of(&None, 1.0).demand
    }

    #[test]
    fn demand_follows_a_change_within_seconds() {
        let mut demands = Demands::default();
        let began = after(&mut demands, 5, 100);
        assert!((75.0..=100.0).contains(&began), "{began}");
        let ended = after(&mut demands, 10, 0);
        assert!(ended < 10.0, "{ended}");
    }

    #[test]
    fn steady_demand_is_told_exactly() {
        let mut demands = Demands::default();
        let steady = after(&mut demands, 100, 10);
        assert!((9.9..=10.1).contains(&steady), "{steady}");
        let want = demands.of(&None, 5.0);
        assert!((want.demand - 2.0).abs() < 0.02 && want.certain < want.demand);
    }

    #[test]
    fn a_report_without_a_duration_counts_once() {
        let mut demands = Demands::default();
        demands.add(&[delta(15)], Duration::ZERO);
        let want = demands.of(&None, 1.0);
        assert!(want.demand <= 5.0, "{want:?}");
    }

    #[test]
    fn entries_without_demand_are_forgotten() {
        let mut demands = Demands::default();
        demands.add(&[delta(15)], Duration::from_secs(1));
        demands.add(&[], Duration::from_secs(600));
        assert!(demands.0.is_empty());
    }
}
