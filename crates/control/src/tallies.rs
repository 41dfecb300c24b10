//! The tallies of all policies.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_policy::{PolicyKey, Strategy, statistics::Verdict};

use crate::{
    counts::{AttributedCounts, Counts},
    evidence::{CountSource, ObservedRate},
    instance::ServiceKey,
    publication::Publication,
    tally::Tally,
};

/// The number of tallies, about 5 MB, above which those of earlier strategies are removed even while
/// they are recent. Without a limit, a thousand policies whose strategies change four times a second
/// would have 240,000 recent tallies.
const MAX_EARLIER_TALLIES: usize = 4_000;

/// A policy and its strategy. A policy whose strategy changes begins a new tally.
type TallyKey = (PolicyKey, Strategy);

/// The tallies of all policies, by the origin of the counts.
#[derive(Debug)]
pub(crate) struct Tallies {
    window: Duration,
    /// Counts of Spoor's own clients.
    clients: Mutex<HashMap<TallyKey, Tally>>,
    /// Counts of unmodified SDKs.
    reported: Mutex<HashMap<TallyKey, Tally>>,
}

impl Tallies {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            clients: Mutex::default(),
            reported: Mutex::default(),
        }
    }

    /// Adds a client's counts to the tallies of the policies that decided them, if these still
    /// decide.
    pub(crate) fn add(
        &self,
        service: &ServiceKey,
        attributed: &[AttributedCounts],
        published: &ArcSwapOption<Publication>,
        (from, to): (Instant, Instant),
    ) {
        if attributed.is_empty() {
            return;
        }
        let mut tallies = self.clients.lock();
        // Loaded under the lock: a later publication clears the tally after these counts are in. If it
        // were loaded earlier, counts of the old publication could enter a cleared tally.
        let Some(published) = published.load_full() else {
            return;
        };
        // Summed first, since adding to a tally divides the counts among its buckets: a report may have
        // thousands of operations, most of them under the same few policies.
        let mut sums: HashMap<_, Counts> = HashMap::new();
        for it in attributed {
            if published.decides(service, it) {
                *sums.entry((&it.policy, it.strategy)).or_default() += it.counts;
            }
        }
        for ((name, strategy), counts) in sums {
            let policy = PolicyKey {
                namespace: service.0.clone(),
                name: name.clone(),
            };
            self.add_to(&mut tallies, (policy, strategy), counts, (from, to));
        }
    }

    /// Adds counts that an unmodified SDK reported.
    pub(crate) fn add_reported(
        &self,
        policy: PolicyKey,
        strategy: Strategy,
        counts: Counts,
        (from, to): (Instant, Instant),
    ) {
        let mut tallies = self.reported.lock();
        self.add_to(&mut tallies, (policy, strategy), counts, (from, to));
    }

    fn add_to(
        &self,
        tallies: &mut HashMap<TallyKey, Tally>,
        key: TallyKey,
        counts: Counts,
        (from, to): (Instant, Instant),
    ) {
        // A tally begins with its first counts; otherwise these would be before its window. A process
        // may claim to be centuries old.
        let earliest = to.checked_sub(self.window).unwrap_or(from);
        let new = Tally::new(key.1, self.window, from.max(earliest));
        tallies.entry(key).or_insert(new).add(counts, from, to);
    }

    /// The observed rate of a policy: by its clients, or else as unmodified SDKs report it. `sharers`
    /// are as in [`Tally::observed`].
    pub(crate) fn observed(
        &self,
        policy: &PolicyKey,
        strategy: Strategy,
        sharers: &[usize],
        now: Instant,
    ) -> Option<ObservedRate> {
        let key = (policy.clone(), strategy);
        let observed_in = |tallies: &Mutex<HashMap<_, Tally>>| {
            let mut tallies = tallies.lock();
            tallies.get_mut(&key)?.observed(sharers, now)
        };
        observed_in(&self.clients).or_else(|| {
            Some(ObservedRate {
                source: CountSource::Reported,
                // Anyone can send such metrics.
                verdict: Verdict::Unknown,
                ..observed_in(&self.reported)?
            })
        })
    }

    /// Removes the tallies that no longer apply after a publication.
    ///
    /// A policy with a new strategy keeps its old tally while that is recent, unless there are more than
    /// [`MAX_EARLIER_TALLIES`] tallies. A policy that now decides at other places begins a new one, since
    /// the old counts come from places where it no longer decides.
    pub(crate) fn remove_outdated(&self, published: &Publication, before: Option<&Publication>) {
        let (now, time) = (Instant::now(), Timestamp::now());
        for tallies in [&self.clients, &self.reported] {
            let mut tallies = tallies.lock();
            let keeps_earlier = tallies.len() <= MAX_EARLIER_TALLIES;
            tallies.retain(|(policy, strategy), tally| {
                let is_in_force = || published.strategy_of(policy, time) == Some(*strategy);
                let is_recent = keeps_earlier && !tally.is_over(now);
                !published.has_moved(policy, before) && (is_recent || is_in_force())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_policy::{Namespace, Policy, PolicyFields, Probability, Version, resolve};

    use super::*;

    fn key() -> PolicyKey {
        PolicyKey {
            namespace: Namespace::default(),
            name: "often-changed".parse().unwrap(),
        }
    }

    #[test]
    fn old_first_counts_are_left_out() {
        let tallies = Tallies::new(Duration::from_secs(60));
        let now = Instant::now();
        let old = now - Duration::from_secs(700 * 365 * 24 * 3_600);
        let strategy = Strategy::Probability(Probability::ALWAYS);
        let counts = Counts {
            started: 7,
            sampled: 7,
        };
        tallies.add_reported(key(), strategy, counts, (old, now));
        tallies.add_reported(key(), strategy, counts, (now, now));
        let observed = tallies.observed(&key(), strategy, &[], now).unwrap();
        // Rounding may put one of the old counts into the window.
        assert!((7..=8).contains(&observed.started), "{observed:?}");
    }

    #[test]
    fn earlier_tallies_are_bounded() {
        let key = key();
        let tallies = Tallies::new(Duration::from_secs(60));
        let strategy = |n: u32| Strategy::Probability(Probability::from_millionths(n).unwrap());
        let now = Instant::now();
        for earlier in 0..=4_000 {
            tallies.add_reported(
                key.clone(),
                strategy(earlier),
                Counts::default(),
                (now, now),
            );
        }
        let policy = Policy::new(PolicyFields {
            key,
            priority: 0,
            created: Timestamp::now(),
            targets: Vec::new(),
            head: Some(strategy(7)),
            tail: None,
            expires_at: None,
        });
        let resolution = resolve(&[policy.unwrap()], Timestamp::now());
        let version = Version {
            epoch: 1,
            sequence: 1,
        };
        let published = Publication::new(resolution, version);
        tallies.remove_outdated(&published, Some(&published));
        let left = tallies.reported.lock();
        assert_eq!(
            left.keys().map(|key| key.1).collect::<Vec<_>>(),
            [strategy(7)]
        );
    }
}
