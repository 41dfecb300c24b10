//! Writes the statuses of policies: promptly when a condition is found to have changed, at
//! longer intervals when only details or numbers do, and not at all while nothing changes.

mod events;
mod schedule;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use kube::core::ApiResource;
use spoor_api::{
    SamplingPolicyStatus,
    status::{Condition, conditions},
};

use self::schedule::StatusChange;
use super::{
    evidence::EvidenceSources,
    objects::{self, PolicyObject},
    resolution::ResolvedPolicies,
};
use crate::{
    kubernetes::{
        apply::{Applier, ApplyError},
        events::EventQueue,
        resources,
        watch::Key,
    },
    lease::NamespaceClaims,
};

/// The most writes at a time.
const MAX_CONCURRENT_WRITES: usize = 8;
/// The delay before the next attempt after a write failed.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time within which clients of the last leader normally reconnect.
const RECONNECT_PERIOD: Duration = Duration::from_secs(10);

/// The statuses of all policies.
pub(super) struct Statuses {
    applier: Arc<Applier>,
    events: Arc<EventQueue>,
    resource: ApiResource,
    claims: NamespaceClaims,
    observed_interval: Duration,
    leading_since: Instant,
    entries: HashMap<Key, Entry>,
}

/// The state of a policy's status, besides the policy itself.
struct Entry {
    uid: String,
    /// The last write of this replica.
    written: Option<Written>,
    written_at: Instant,
    differs_since: Option<Instant>,
}

struct Written {
    desired: SamplingPolicyStatus,
    /// The status that the API server stored: other managers may have added fields.
    stored: Option<SamplingPolicyStatus>,
    version: u64,
}

/// A status to write now.
struct Due {
    object: Arc<PolicyObject>,
    desired: SamplingPolicyStatus,
    previous: Vec<Condition>,
}

/// The schedule of the next check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NextWrite {
    /// The time by which to check again; none if nothing is pending.
    pub(super) at: Option<Instant>,
    /// True if a status is written now, or differs in more than its numbers.
    pub(super) has_pending_changes: bool,
}

impl Statuses {
    pub(super) fn new(
        applier: Arc<Applier>,
        events: Arc<EventQueue>,
        claims: NamespaceClaims,
        observed_interval: Duration,
    ) -> Self {
        Self {
            applier,
            events,
            claims,
            resource: resources::sampling_policies(),
            observed_interval,
            leading_since: Instant::now(),
            entries: HashMap::new(),
        }
    }

    /// Checks all policies and writes the statuses that are due.
    pub(super) async fn write(
        &mut self,
        policies: &[Arc<PolicyObject>],
        resolved: &ResolvedPolicies,
        evidence: &EvidenceSources<'_>,
    ) -> NextWrite {
        let (due, mut next) = self.due_writes(policies, resolved, evidence);
        if due.is_empty() {
            return next;
        }
        let (applier, resource) = (&*self.applier, &self.resource);
        let writes = stream::iter(due).map(|due| async move {
            let write = applier.apply_status(resource, &due.object.key, None, &due.desired);
            let written = write.await.map(|after| Written {
                desired: due.desired.clone(),
                stored: after.data.get("status").and_then(objects::parse_status),
                version: objects::parse_version(after.metadata.resource_version.as_deref()),
            });
            (due, written)
        });
        // Each write is recorded as it completes, so that an error does not repeat the others.
        let mut writes = writes.buffer_unordered(MAX_CONCURRENT_WRITES);
        let mut is_failing = false;
        while let Some((due, written)) = writes.next().await {
            match written {
                Ok(written) => {
                    for event in events::events(&due.object, &due.previous, &written.desired) {
                        self.events.publish(event);
                    }
                    if let Some(entry) = self.entries.get_mut(&due.object.key) {
                        entry.written = Some(written);
                        entry.written_at = Instant::now();
                        entry.differs_since = None;
                    }
                }
                // The policy was deleted in the meantime.
                Err(ApplyError::Call { source, .. }) if source.is_not_found() => {}
                Err(error) => {
                    // One line for all writes that fail together.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot write a policy's status; retrying"
                        );
                    }
                }
            }
        }
        if is_failing {
            next.at = Some(Instant::now() + RETRY_DELAY);
        }
        next
    }

    fn due_writes(
        &mut self,
        policies: &[Arc<PolicyObject>],
        resolved: &ResolvedPolicies,
        evidence: &EvidenceSources<'_>,
    ) -> (Vec<Due>, NextWrite) {
        let (now, time) = (Instant::now(), Timestamp::now());
        let mut due = vec![];
        let mut next = NextWrite::default();
        let mut reader = evidence.control.evidence_reader();
        self.forget(policies);
        let policies = policies
            .iter()
            .filter(|object| self.claims.is_certain(&object.key.namespace));
        for object in policies {
            let leading_since = self.leading_since;
            let entry = self.entries.entry(object.key.clone());
            let entry = entry.or_insert_with(|| Entry::new(object, leading_since));
            // Deleted and created again between two checks.
            if entry.uid != object.uid {
                *entry = Entry::new(object, leading_since);
            }
            let current = entry.current(object);
            let previous = current.map(|status| status.conditions.as_slice());
            let previous = previous.unwrap_or_default();
            let collect = |key: &_| evidence.collect(&mut reader, key);
            let Some(mut desired) = resolved.status(object, collect, previous, time) else {
                continue;
            };
            let contested = self.claims.contested(&object.key.namespace);
            desired
                .conditions
                .extend(conditions(contested, object.generation, previous, time));
            let change = StatusChange {
                current,
                desired: &desired,
                written: entry.written_at,
                reconnect_until: leading_since + RECONNECT_PERIOD,
                observed_interval: self.observed_interval,
            };
            let mut differs_since = entry.differs_since;
            let at = schedule::write_time(&change, &mut differs_since, now);
            let previous = previous.to_vec();
            entry.differs_since = differs_since;
            match at {
                None => continue,
                Some(at) if at > now => {
                    next.has_pending_changes |= differs_since.is_some();
                    next.at = [next.at, Some(at)].into_iter().flatten().min();
                }
                Some(_) => {
                    next.has_pending_changes = true;
                    due.push(Due {
                        object: object.clone(),
                        desired,
                        previous,
                    });
                }
            }
        }
        (due, next)
    }

    fn forget(&mut self, policies: &[Arc<PolicyObject>]) {
        if self.entries.len() > policies.len() {
            let keys: std::collections::HashSet<&Key> =
                policies.iter().map(|object| &object.key).collect();
            self.entries.retain(|key, _| keys.contains(key));
        }
    }
}

impl Entry {
    fn new(object: &PolicyObject, leading_since: Instant) -> Self {
        Self {
            uid: object.uid.clone(),
            written: None,
            written_at: leading_since,
            differs_since: None,
        }
    }

    /// The status in the cluster. Fields that other managers have added are ignored; those that
    /// they have changed count, so that they are restored.
    fn current<'a>(&'a self, object: &'a PolicyObject) -> Option<&'a SamplingPolicyStatus> {
        match &self.written {
            // The watch lags behind the writes. This lag must not make a status that this replica
            // has just written look edited.
            Some(written)
                if object.version <= written.version || object.status == written.stored =>
            {
                Some(&written.desired)
            }
            _ => object.status.as_ref(),
        }
    }
}
