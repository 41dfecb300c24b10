//! The traces that a process starts, by plan entry.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use crate::{
    counts::{CountDelta, PlanEntry},
    lending::divide::ShareDemand,
};

/// The time constant of the average that smooths out noise, in seconds.
const STEADY_SECONDS: f64 = 15.0;

/// The time constant of the average that follows a change, in seconds.
const FAST_SECONDS: f64 = 3.0;

/// The distance between the two averages, in standard deviations, that counts as a change.
const MIN_CHANGE_DEVIATIONS: f64 = 3.0;

/// The standard deviations subtracted from a demand to get the part that is not noise.
const CERTAIN_DEVIATIONS: f64 = 2.0;

/// The lowest demand that is remembered, in traces per second.
const MIN_DEMAND: f64 = 1e-6;

/// The longest time that a few counts wait before all averages are computed.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// The waiting counts are few if the process has more than this many entries for each of them.
const ENTRIES_PER_COUNT: usize = 16;

/// The demand of a process, in traces per second. Entries without demand are removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    entries: BTreeMap<PlanEntry, Demand>,
    /// The time and the number of counts since the averages were last computed.
    waiting: (Duration, usize),
}

/// Two exponential averages of one rate.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    steady: f64,
    fast: f64,
    /// The traces started since the averages were last computed.
    started: u64,
}

impl Demands {
    /// Adds the counts made during `period`.
    pub(crate) fn add(&mut self, deltas: &[CountDelta], period: Duration) {
        for delta in deltas {
            let demand = self.entries.entry(delta.key.operation.clone());
            demand.or_default().started += delta.counts.started;
        }
        let (time, counts) = (self.waiting.0 + period, self.waiting.1 + deltas.len());
        self.waiting = (time, counts);
        // Computing the averages visits all entries, since those without counts are averaged with
        // zero. A few counts are not worth that, so they wait.
        if counts < self.entries.len() / ENTRIES_PER_COUNT && time < MAX_DELAY {
            return;
        }
        self.waiting = (Duration::ZERO, 0);
        self.entries.retain(|_, demand| {
            demand.update(time.as_secs_f64());
            demand.fast.max(demand.steady) > MIN_DEMAND
        });
    }

    /// Forgets the entries that are not in `known`, if there are more entries than `known` has. The
    /// counts of all processes have a bound, and demands must not exceed it.
    pub(crate) fn limit_to<'a>(&mut self, known: impl ExactSizeIterator<Item = &'a PlanEntry>) {
        if self.entries.len() > known.len() {
            let known: BTreeSet<&PlanEntry> = known.collect();
            self.entries.retain(|entry, _| known.contains(entry));
        }
    }

    /// The demand under a plan entry, as a multiple of an equal share of `equal` traces per second.
    pub(crate) fn of(&self, operation: &PlanEntry, equal: f64) -> ShareDemand {
        let demand = self.entries.get(operation).copied().unwrap_or_default();
        // The standard deviation of an exponential average of a Poisson process.
        let deviation = (demand.steady / (2.0 * STEADY_SECONDS)).sqrt();
        ShareDemand {
            demand: demand.steady / equal,
            certain: (demand.steady - CERTAIN_DEVIATIONS * deviation) / equal,
            goal: 1.0,
        }
    }
}

impl Demand {
    fn update(&mut self, period: f64) {
        let started = mem::take(&mut self.started) as f64;
        let average = |before: f64, constant: f64| {
            let kept = (-period / constant).exp();
            let rate = match period > 0.0 {
                true => started / period * (1.0 - kept),
                // The limit of the other case for a duration of zero.
                false => started / constant,
            };
            before * kept + rate
        };
        self.fast = average(self.fast, FAST_SECONDS);
        self.steady = average(self.steady, STEADY_SECONDS);
        let deviation = (self.steady.max(1.0 / STEADY_SECONDS) / (2.0 * FAST_SECONDS)).sqrt();
        if (self.fast - self.steady).abs() > MIN_CHANGE_DEVIATIONS * deviation {
            // The demand has changed, and the steady average would take a minute to follow.
            self.steady = self.fast;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::counts::{CountKey, Counts};

    fn delta(started: u64) -> CountDelta {
        CountDelta {
            key: CountKey {
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

    #[test]
    fn surplus_entries_are_forgotten() {
        let mut demands = Demands::default();
        let entry = |name: &str| Some(name.parse().unwrap());
        let deltas = ["new", "old"].map(|name| {
            let mut delta = delta(1);
            delta.key.operation = entry(name);
            delta
        });
        demands.add(&deltas, Duration::from_secs(1));
        demands.limit_to([entry("new"), entry("unused")].iter());
        assert_eq!(demands.entries.len(), 2);
        demands.limit_to([entry("new")].iter());
        assert_eq!(demands.entries.keys().collect::<Vec<_>>(), [&entry("new")]);
    }

    /// The demand after some seconds with this many traces in each.
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
    fn steady_demand_is_measured_exactly() {
        let mut demands = Demands::default();
        let steady = after(&mut demands, 100, 10);
        assert!((9.9..=10.1).contains(&steady), "{steady}");
        let want = demands.of(&None, 5.0);
        assert!((want.demand - 2.0).abs() < 0.02 && want.certain < want.demand);
    }

    #[test]
    fn zero_duration_does_not_inflate_demand() {
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
        assert!(demands.entries.is_empty());
    }

    #[test]
    fn few_counts_are_averaged_later() {
        let named = |number: usize| {
            let mut delta = delta(10);
            delta.key.operation = Some(format!("GET /{number}").parse().unwrap());
            delta
        };
        let all: Vec<CountDelta> = (0..100).map(named).collect();
        let mut demands = Demands::default();
        let demand = |demands: &Demands| demands.of(&all[0].key.operation, 1.0).demand;
        demands.add(&all, Duration::from_secs(1));
        let before = demand(&demands);
        assert!(before > 0.0);
        for _ in 0..5 {
            demands.add(&all[..1], Duration::from_millis(100));
            demands.add(&[], Duration::ZERO);
        }
        assert_eq!(demand(&demands).to_bits(), before.to_bits());
        demands.add(&[], Duration::from_millis(600));
        assert!(demand(&demands) > before);
        demands.add(&[], Duration::from_secs(600));
        assert!(demands.entries.is_empty());
    }
}
