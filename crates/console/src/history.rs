//! The history of policies since the console started: their changes and observed rates, in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use spoor_api::{
    SamplingPolicy, SamplingPolicySpec,
    status::{Condition, ConditionStatus, Observed},
};
use spoor_policy::{Namespace, PolicyKey, PolicyName};

/// The most changes of one policy.
const MAX_CHANGES_OF_POLICY: usize = 100;
/// The most changes of all policies.
const MAX_CHANGES: usize = 2_000;
/// The most observed rates of one policy.
const MAX_POINTS_OF_POLICY: usize = 240;
/// The most policies with observed rates: 25 MiB of points.
const MAX_POLICIES_WITH_POINTS: usize = 2_000;
/// The minimum time between two observed rates of a policy.
const MIN_POINT_INTERVAL: SignedDuration = SignedDuration::from_secs(5);
/// The annotation that names the author of a policy's last change, if the backend knows it.
const CHANGED_BY: &str = "spoor.dev/changed-by";

/// The changes and observed rates of all policies.
pub(crate) struct History {
    started: Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The policies of the last read. `None` before the first.
    last: Option<BTreeMap<PolicyKey, Seen>>,
    /// Also those of policies that are deleted.
    changes: BTreeMap<PolicyKey, VecDeque<PolicyChange>>,
    observed: BTreeMap<PolicyKey, VecDeque<ObservedPoint>>,
}

/// The mark that distinguishes a policy from an earlier one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Another policy, if one of these differs.
    identity: (Option<String>, Option<String>),
    generation: Option<i64>,
    expires_at: Option<Timestamp>,
    is_expired: bool,
    strategy: String,
    by: Option<String>,
}

/// A change of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyChange {
    /// The time at which the console noticed it.
    pub time: Timestamp,
    /// The `metadata.generation` afterwards, or the last one if it was deleted.
    pub generation: Option<i64>,
    pub kind: ChangeKind,
    /// The author, where Kubernetes knows one.
    pub by: Option<String>,
    /// Head and tail strategy: `1%`, `100% + tail rules, otherwise 10%`.
    pub strategy: String,
    /// The time until every instance had it, once they have.
    pub milliseconds: Option<u64>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Created,
    Changed,
    Deleted,
    Expired,
}

/// An observed rate, as shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ObservedPoint {
    pub time: Timestamp,
    pub rate: f64,
    pub lower: f64,
    pub upper: f64,
    pub kept_per_second: f64,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
        })
    }
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            started: Timestamp::now(),
            state: Mutex::default(),
        }
    }

    /// The time since which changes are known.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// The changes of a policy, the newest first.
    pub(crate) fn changes(&self, key: &PolicyKey) -> Vec<PolicyChange> {
        let state = self.state.lock();
        let changes = state.changes.get(key);
        changes.map_or_else(Vec::new, |changes| changes.iter().rev().cloned().collect())
    }

    /// The observed rates of a policy, the oldest first.
    pub(crate) fn observed(&self, key: &PolicyKey) -> Vec<ObservedPoint> {
        let state = self.state.lock();
        let points = state.observed.get(key);
        points.map_or_else(Vec::new, |points| points.iter().copied().collect())
    }

    /// Compares all policies with those of the last call.
    pub(crate) fn record(&self, policies: &[SamplingPolicy], now: Timestamp) {
        let mut state = self.state.lock();
        let by_key = policies.iter().filter_map(|it| Some((key_of(it)?, it)));
        let by_key: BTreeMap<PolicyKey, &SamplingPolicy> = by_key.collect();
        let seen = by_key.iter();
        let seen = seen.map(|(key, policy)| (key.clone(), Seen::new(policy, now)));
        let seen: BTreeMap<PolicyKey, Seen> = seen.collect();
        // Before the first read, nothing is known about when a policy was created.
        if let Some(before) = state.last.take() {
            state.add_changes(&before, &seen, now);
        }
        state.observed.retain(|key, _| seen.contains_key(key));
        state.last = Some(seen);
        for (key, policy) in by_key {
            state.add_convergence(&key, policy);
            state.add_observed(&key, policy, now);
        }
    }
}

impl State {
    fn add_changes(
        &mut self,
        before: &BTreeMap<PolicyKey, Seen>,
        now_seen: &BTreeMap<PolicyKey, Seen>,
        now: Timestamp,
    ) {
        for (key, seen) in now_seen {
            if let Some((time, kind)) = change(before.get(key), seen, now) {
                self.add_change(key, seen.change(time, kind));
            }
        }
        for (key, seen) in before {
            if !now_seen.contains_key(key) {
                let change = seen.change(now, ChangeKind::Deleted);
                // The author of the last change need not be the one who deleted it.
                let by = None;
                self.add_change(key, PolicyChange { by, ..change });
            }
        }
        self.remove_oldest();
    }

    fn add_change(&mut self, key: &PolicyKey, change: PolicyChange) {
        let changes = self.changes.entry(key.clone()).or_default();
        changes.push_back(change);
        if changes.len() > MAX_CHANGES_OF_POLICY {
            changes.pop_front();
        }
    }

    /// Removes the oldest changes beyond the limit for all policies.
    fn remove_oldest(&mut self) {
        let mut total: usize = self.changes.values().map(VecDeque::len).sum();
        while total > MAX_CHANGES {
            let oldest = |changes: &VecDeque<PolicyChange>| changes.front().map(|it| it.time);
            let changes = self.changes.values_mut();
            if let Some(changes) = changes.min_by_key(|changes| oldest(changes)) {
                changes.pop_front();
            }
            total -= 1;
            // An empty list would be the one with the oldest change: none.
            self.changes.retain(|_, changes| !changes.is_empty());
        }
    }

    /// Completes the last change of a policy once every instance has it.
    fn add_convergence(&mut self, key: &PolicyKey, policy: &SamplingPolicy) {
        let generation = policy.metadata.generation;
        let Some(converged) = policy.condition(Condition::CONVERGED) else {
            return;
        };
        // The status of a cluster's policy may still be that of an earlier generation.
        let is_current = converged.observed_generation == generation;
        if converged.status != ConditionStatus::True || !is_current {
            return;
        }
        let status = policy.status.as_ref();
        let clients = status.and_then(|status| status.clients.as_ref());
        let milliseconds = clients.and_then(|clients| clients.slowest_milliseconds);
        let changes = self.changes.get_mut(key);
        let last = changes.and_then(VecDeque::back_mut);
        let is_open = |change: &&mut PolicyChange| {
            matches!(change.kind, ChangeKind::Created | ChangeKind::Changed)
                && change.generation == generation
                && change.milliseconds.is_none()
        };
        if let Some(change) = last.filter(is_open) {
            change.milliseconds = milliseconds;
        }
    }

    fn add_observed(&mut self, key: &PolicyKey, policy: &SamplingPolicy, now: Timestamp) {
        let status = policy.status.as_ref();
        let observed = status.and_then(|status| status.observed.as_ref());
        let Some(point) = observed.and_then(|observed| ObservedPoint::new(observed, now)) else {
            return;
        };
        if self.observed.len() >= MAX_POLICIES_WITH_POINTS && !self.observed.contains_key(key) {
            return;
        }
        let points = self.observed.entry(key.clone()).or_default();
        let is_new = |last: &ObservedPoint| {
            let is_due = now.duration_since(last.time) >= MIN_POINT_INTERVAL;
            let time = last.time;
            is_due && *last != ObservedPoint { time, ..point }
        };
        if points.back().is_none_or(is_new) {
            points.push_back(point);
        }
        if points.len() > MAX_POINTS_OF_POLICY {
            points.pop_front();
        }
    }
}

/// The time and kind of a policy's change, if it has changed.
fn change(before: Option<&Seen>, seen: &Seen, now: Timestamp) -> Option<(Timestamp, ChangeKind)> {
    match before {
        Some(before) if before.identity == seen.identity => {
            if before.generation != seen.generation {
                return Some((now, ChangeKind::Changed));
            }
            let has_expired = seen.is_expired && !before.is_expired;
            has_expired.then(|| (seen.expires_at.unwrap_or(now), ChangeKind::Expired))
        }
        _ => Some((now, ChangeKind::Created)),
    }
}

impl Seen {
    fn new(policy: &SamplingPolicy, now: Timestamp) -> Self {
        let metadata = &policy.metadata;
        let expires_at = policy.spec.expires_at.as_ref();
        let expires_at: Option<Timestamp> = expires_at.and_then(|time| time.parse().ok());
        Self {
            identity: (metadata.uid.clone(), metadata.creation_timestamp.clone()),
            generation: metadata.generation,
            expires_at,
            is_expired: expires_at.is_some_and(|time| time <= now),
            strategy: strategy(&policy.spec),
            by: changed_by(policy),
        }
    }

    fn change(&self, time: Timestamp, kind: ChangeKind) -> PolicyChange {
        PolicyChange {
            time,
            generation: self.generation,
            kind,
            by: self.by.clone().filter(|_| kind != ChangeKind::Expired),
            strategy: self.strategy.clone(),
            milliseconds: None,
        }
    }
}

impl ObservedPoint {
    fn new(observed: &Observed, time: Timestamp) -> Option<Self> {
        let rate = share(observed.rate.as_deref()?)?;
        let bound = |text: &Option<String>| text.as_deref().and_then(share);
        let window = f64::from(observed.window_seconds.max(1));
        Some(Self {
            time,
            rate,
            lower: bound(&observed.lower).unwrap_or(rate),
            upper: bound(&observed.upper).unwrap_or(rate),
            // The number of traces in a window is far below the precision of a double.
            kept_per_second: observed.sampled as f64 / window,
        })
    }
}

/// The identity of a policy, if its names are valid.
pub(crate) fn key_of(policy: &SamplingPolicy) -> Option<PolicyKey> {
    let namespace = policy.metadata.namespace.as_deref();
    let namespace = namespace.map_or_else(|| Ok(Namespace::default()), Namespace::new);
    let name = PolicyName::new(&policy.metadata.name);
    Some(PolicyKey {
        namespace: namespace.ok()?,
        name: name.ok()?,
    })
}

/// The author of a policy's last change, if the backend knows it.
fn changed_by(policy: &SamplingPolicy) -> Option<String> {
    policy.metadata.annotations.get(CHANGED_BY).cloned()
}

/// Head and tail in one line. Not from the status, which may be that of an earlier generation.
fn strategy(spec: &SamplingPolicySpec) -> String {
    let head = spec.head.as_ref().and_then(|head| {
        let rate = head.rate_limit.as_ref();
        let rate = rate.map(|rate| format!("{}/s", rate.traces_per_second));
        head.probability.clone().or(rate)
    });
    let tail = spec.tail.as_ref();
    let tail = tail.map(|tail| format!("tail rules, otherwise {}", tail.otherwise));
    let parts: Vec<String> = head.into_iter().chain(tail).collect();
    parts.join(" + ")
}

/// A percentage such as `0.98%` as a share. Observed rates have more decimal places than a
/// [`spoor_policy::Probability`] accepts.
fn share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    let share = percent / 100.0;
    (0.0..=1.0).contains(&share).then_some(share)
}

#[cfg(test)]
mod tests;
