//! Claims namespaces for an installation: a Lease in each, held by one installation.
//!
//! A claim that is not renewed expires, and the next installation that tries takes over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use spoor_runtime::with_causes;
use tokio::sync::watch;

use super::{
    claims::{CLAIM_LEASE, NamespaceClaim, NamespaceClaims},
    leadership::{Candidate, Leadership, Timing},
    record::{self, LeaseAction, ObservedLease},
    refusal::{self, RefusalNote},
};
use crate::kubernetes::{ApiServerError, with_deadline};

/// The timing of claims. There is one write per namespace and renewal, whatever the number of
/// roles and replicas: a thousand namespaces cost 50 small writes a second.
pub const CLAIM_TIMING: Timing = Timing {
    duration: Duration::from_secs(60),
    renew: Duration::from_secs(20),
    retry: Duration::from_secs(5),
};

/// The most calls to the API server at a time.
const MAX_CONCURRENT_CALLS: usize = 8;
/// The time for which changes are collected, so that namespaces that appear together are claimed
/// together.
const DEBOUNCE_DELAY: Duration = Duration::from_millis(5);
/// The wait while there is no namespace to renew.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

/// Claims namespaces and renews the claims.
pub struct Claimer {
    claims: NamespaceClaims,
    client: Client,
    timing: Timing,
    entries: BTreeMap<String, Entry>,
}

/// The state of a namespace between two attempts.
#[derive(Debug, Default)]
struct Entry {
    due: Option<Instant>,
    last_read: Option<Instant>,
    observed: Option<ObservedLease>,
    note: Option<RefusalNote>,
    /// True once the Lease has been read, or the API server has refused the request.
    is_known: bool,
}

impl Claimer {
    /// Creates a claimer that records its results in `claims`.
    #[must_use]
    pub fn new(client: Client, claims: NamespaceClaims, timing: Timing) -> Self {
        Self {
            claims,
            client,
            timing,
            entries: BTreeMap::new(),
        }
    }

    /// Claims the namespaces that `desired` returns and renews the claims, while this replica is
    /// the leader.
    pub async fn run(
        mut self,
        desired: impl Fn() -> BTreeSet<String>,
        mut leadership: watch::Receiver<Leadership>,
    ) {
        let mut changed = self.claims.watches().changed();
        loop {
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            changed.mark_unchanged();
            let desired = desired();
            self.claims.keep_only(&desired);
            self.entries
                .retain(|namespace, _| desired.contains(namespace));
            self.attempt_due(desired).await;
            if self.entries.values().all(|entry| entry.is_known) {
                self.claims.set_all_read();
            }
            let due = self.entries.values().filter_map(|entry| entry.due).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE_INTERVAL);
            tokio::select! {
                ticked = changed.changed() => if ticked.is_err() { return },
                () = tokio::time::sleep_until(due.into()) => {}
            }
            tokio::time::sleep(DEBOUNCE_DELAY).await;
        }
    }

    async fn attempt_due(&mut self, desired: BTreeSet<String>) {
        let now = Instant::now();
        let mut due = vec![];
        for namespace in desired {
            let entry = self.entries.entry(namespace.clone()).or_default();
            if entry.due.is_none_or(|due| due <= now) {
                due.push((namespace, std::mem::take(entry)));
            }
        }
        let this = &*self;
        let attempts = stream::iter(due).map(|(namespace, mut entry)| async move {
            let pause = this.attempt_and_record(&namespace, &mut entry).await;
            // Jitter, so that a thousand claims made together are not renewed together.
            let pause = pause.mul_f64(rand::random_range(0.8..1.0));
            entry.due = Some(Instant::now() + pause);
            (namespace, entry)
        });
        let attempts = attempts.buffer_unordered(MAX_CONCURRENT_CALLS);
        let done: Vec<_> = attempts.collect().await;
        self.entries.extend(done);
    }

    /// Makes an attempt and records its result. Returns the delay until the next one.
    async fn attempt_and_record(&self, namespace: &str, entry: &mut Entry) -> Duration {
        match self.attempt(namespace, entry).await {
            Ok(Some(claim)) => {
                entry.is_known = true;
                self.claims.set(namespace, claim);
                self.timing.renew
            }
            // Another client wrote at the same time, most often the other role of this
            // installation, so the next attempt will probably find the Lease renewed.
            Ok(None) => self.timing.retry / 10,
            Err(error) => {
                // An API server that fails may still confirm the claim later; one that refuses the
                // call has decided.
                entry.is_known |= error.code().is_some_and(|code| code < 500);
                if !self.claims.holds(namespace) {
                    let problem = with_causes(&error);
                    self.claims
                        .set(namespace, NamespaceClaim::Failed { problem });
                }
                self.timing.retry
            }
        }
    }

    /// Reads the Lease, and acquires, renews or annotates it if that is due. Returns none if
    /// another client has written it in between.
    async fn attempt(
        &self,
        namespace: &str,
        entry: &mut Entry,
    ) -> Result<Option<NamespaceClaim>, ApiServerError> {
        // Two calls of this length fit into a third of the duration, so a slow API server still
        // leaves time for a second attempt.
        let deadline = self.timing.duration / 6;
        let api: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        let candidate = Candidate {
            namespace: namespace.to_owned(),
            name: CLAIM_LEASE.to_owned(),
            identity: self.claims.identity().to_owned(),
            timing: self.timing,
        };
        let me = &candidate.identity;
        let started = Instant::now();
        let read = with_deadline(deadline, api.get_opt(CLAIM_LEASE)).await?;
        let last_read = entry.last_read.replace(started);
        let before = entry.observed.take();
        let was_observed = before.is_some();
        entry.observed = read.map(|lease| ObservedLease::observe(lease, started, before));
        let observed = entry.observed.as_ref();
        entry.note = observed.and_then(|it| RefusalNote::of(&it.lease, entry.note.take(), started));
        let note = entry.note.as_ref();
        let note = note.filter(|note| note.is_fresh(started, self.timing.duration));
        let contender = note.map(|note| note.refused.clone()).filter(|it| it != me);
        let held = |until| NamespaceClaim::Held {
            until,
            contender: contender.clone(),
        };
        let action = record::next_action(entry.observed.as_ref(), me, false, started);
        let (lease, claim) = match (action, &entry.observed) {
            (LeaseAction::Wait | LeaseAction::StepDown { .. }, Some(observed)) => {
                let by = observed.holder().unwrap_or_default().to_owned();
                // If several installations are refused, the note keeps the first one.
                let is_noted = contender.is_some()
                    || note.is_some_and(|note| last_read.is_some_and(|it| note.since > it));
                let mut lease = observed.lease.clone();
                refusal::add(&mut lease, me, Timestamp::now());
                ((!is_noted).then_some(lease), NamespaceClaim::Refused { by })
            }
            (LeaseAction::Hold(lease), Some(observed)) => {
                // Both roles claim under one identity. If the other one has renewed the Lease since
                // the last read, this one writes nothing, but can only count on the time before
                // that read.
                let has_other_role_renewed =
                    was_observed && observed.holder() == Some(me) && observed.since == started;
                if let (true, Some(last_read)) = (has_other_role_renewed, last_read) {
                    (None, held(last_read + self.timing.duration))
                } else {
                    let mut lease = record::held(*lease, &candidate, Timestamp::now());
                    if contender.is_none() {
                        refusal::remove(&mut lease);
                    }
                    (Some(lease), held(started + self.timing.duration))
                }
            }
            (_, _) => {
                let lease = record::created(&candidate, Timestamp::now());
                (Some(lease), held(started + self.timing.duration))
            }
        };
        let Some(lease) = lease else {
            return Ok(Some(claim));
        };
        // `update` creates a Lease that does not exist. Unlike `create`, it can be allowed for one
        // name only. Without a resourceVersion it changes no existing Lease.
        let parameters = PostParams::default();
        match with_deadline(deadline, api.replace(CLAIM_LEASE, &parameters, &lease)).await {
            Ok(lease) => {
                let written = ObservedLease::observe(lease, started, entry.observed.take());
                entry.note = RefusalNote::of(&written.lease, entry.note.take(), started);
                entry.observed = Some(written);
                Ok(Some(claim))
            }
            Err(error) if error.is_conflict() || error.code() == Some(422) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
