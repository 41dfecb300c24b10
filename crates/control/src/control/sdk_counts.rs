//! Counts that unmodified SDKs report.
//!
//! Anyone can send such metrics, so they never lead to a verdict.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use spoor_policy::{PolicyKey, Strategy};

use super::Control;
use crate::{instance::ServiceKey, reporters::RootSpanPoint};

impl Control {
    /// Adds the counts that a process reports, if its service is known or a client has recently
    /// requested its strategy.
    pub(crate) fn add_sdk_counts(&self, key: &ServiceKey, resource: u64, points: &[RootSpanPoint]) {
        let now = Instant::now();
        let service = match self.0.services.get(key) {
            Some(service) => Some(service),
            // Metrics may name any service, so they add one only if a client requests its strategy.
            None if self.0.pollers.has_recent(key, now) => self.service_or_insert(key),
            None => None,
        };
        let Some(service) = service else { return };
        let reporter = (key.clone(), resource);
        let Some(delta) = self.0.reporters.update(reporter, points, now) else {
            return;
        };
        let mut state = service.state();
        state.last_sdk_report = Some(now);
        state.has_roots |= delta.counts.started > 0;
        let in_force = state.served.as_ref().map(|served| served.published);
        // Released early, since attributing the counts needs only the lock of the tallies.
        drop(state);
        // Roots that started under the previous plan are not evidence for this one.
        let is_under_this_plan =
            in_force.is_some_and(|since| now.saturating_duration_since(since) >= delta.period);
        // The metric does not name operations, so its counts are attributed only to a policy that
        // decides for all of the service.
        if is_under_this_plan
            && delta.counts.started > 0
            && let Some((policy, strategy)) = self.sole_policy(key, delta.period)
        {
            let from = now.checked_sub(delta.period).unwrap_or(now);
            let tallies = &self.0.tallies;
            tallies.add_reported(policy, strategy, delta.counts, (from, now));
        }
        self.notify_change();
    }

    /// The policy that has decided for all of a service for this long.
    fn sole_policy(&self, key: &ServiceKey, period: Duration) -> Option<(PolicyKey, Strategy)> {
        let published = self.0.published.load_full()?;
        let plan = published.plan(key);
        let now = Timestamp::now();
        let strategies = plan.at(now)?;
        let then = now.checked_sub(period).ok()?;
        let before = plan.at(then)?;
        let is_sole = strategies.operations.is_empty() && before == strategies;
        let assigned = strategies.default.as_ref().filter(|_| is_sole)?;
        let policy = PolicyKey {
            namespace: key.0.clone(),
            name: assigned.policy.clone(),
        };
        Some((policy, assigned.strategy))
    }
}
