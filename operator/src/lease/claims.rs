//! Which installation of the operator serves a namespace: a Lease in each, held by one.
//!
//! Both roles of an installation claim under one identity, so that they never serve different
//! namespaces. Whoever comes second is refused: it leaves the namespace's objects alone and notes
//! its name in the Lease, so that the holder can report it in the status that only the holder
//! writes. A Lease that is not renewed runs out, and the next one takes over.

mod mark;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use parking_lot::RwLock;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use spoor_api::status::{ConditionStatus, ConditionUpdate};
use tokio::sync::watch;

use super::{
    Candidate, Leadership, Timing,
    record::{self, Seen, Step},
};
use crate::kubernetes::{CallError, chain, watch::Watches, within};
use mark::Mark;

/// The Lease in each namespace that is served.
pub const CLAIM_LEASE: &str = "spoor-operator";

/// One write for each namespace and this time, whatever its number of roles and replicas: a
/// thousand namespaces are 50 small writes a second.
pub const CLAIM_TIMING: Timing = Timing {
    duration: Duration::from_secs(60),
    renew: Duration::from_secs(20),
    retry: Duration::from_secs(5),
};

/// Calls at once.
const AT_ONCE: usize = 8;
/// New namespaces that come together are claimed together.
const TOGETHER: Duration = Duration::from_millis(5);
/// Without a namespace there is nothing to renew.
const IDLE: Duration = Duration::from_secs(3600);

/// What is known of a namespace's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// This installation serves the namespace.
    Held {
        /// Nobody can have taken over before.
        until: Instant,
        /// Another installation that was refused a short while ago.
        contender: Option<String>,
    },
    /// Another installation does.
    Refused {
        /// Its identity.
        by: String,
    },
    /// The API server did not let this installation claim it.
    Failed {
        /// Why, for people.
        problem: String,
    },
}

/// The namespaces that this installation serves, as far as is known. Clones share it.
#[derive(Clone, Debug)]
pub struct Claims(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: String,
    known: RwLock<BTreeMap<String, Claim>>,
    /// Whether every namespace was asked about once.
    is_settled: watch::Sender<bool>,
    watches: Watches,
    held: Gauge,
    refused: Gauge,
}

impl Claims {
    /// No claim yet. `identity` is the installation's; `watches` tick whenever a claim changes.
    #[must_use]
    pub fn new(identity: String, watches: Watches) -> Self {
        Self(Arc::new(Inner {
            identity,
            known: RwLock::default(),
            is_settled: watch::Sender::new(false),
            watches,
            held: Gauge::default(),
            refused: Gauge::default(),
        }))
    }

    /// Registers the metrics, under `spoor_operator_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("spoor_operator");
        registry.register(
            "served_namespaces",
            "Namespaces that this installation has claimed",
            self.0.held.clone(),
        );
        registry.register(
            "refused_namespaces",
            "Namespaces that another installation serves, though this one should",
            self.0.refused.clone(),
        );
    }

    /// The installation's own identity.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// Whether this installation serves the namespace, as far as it knows.
    #[must_use]
    pub fn holds(&self, namespace: &str) -> bool {
        matches!(self.0.known.read().get(namespace), Some(Claim::Held { .. }))
    }

    /// Whether it serves the namespace and nobody can have taken over: only then it may write.
    #[must_use]
    pub fn is_certain(&self, namespace: &str) -> bool {
        let known = self.0.known.read();
        known.get(namespace).is_some_and(Claim::is_certain)
    }

    /// The installation that serves the namespace instead of this one.
    #[must_use]
    pub fn refused_by(&self, namespace: &str) -> Option<String> {
        match self.0.known.read().get(namespace)? {
            Claim::Refused { by } => Some(by.clone()),
            Claim::Held { .. } | Claim::Failed { .. } => None,
        }
    }

    /// The installation that was refused in a namespace that this one serves.
    #[must_use]
    pub fn contender(&self, namespace: &str) -> Option<String> {
        match self.0.known.read().get(namespace)? {
            Claim::Held { contender, .. } => contender.clone(),
            Claim::Refused { .. } | Claim::Failed { .. } => None,
        }
    }

    /// The condition `Contested` of objects in a namespace that another
    /// installation would serve, too; none elsewhere.
    #[must_use]
    pub fn contested(&self, namespace: &str) -> Option<ConditionUpdate> {
        let other = self.contender(namespace)?;
        let identity = self.identity();
        let message = format!(
            "operator {identity} serves namespace {namespace} and has refused operator {other}; \
             set operator.namespaces so that each namespace has one operator"
        );
        Some(ConditionUpdate::new(
            ConditionStatus::True,
            "AnotherOperator",
            message,
        ))
    }

    /// Why this installation serves nothing, if it holds none of its namespaces.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let known = self.0.known.read();
        let refused = known.iter().map(|(namespace, claim)| match claim {
            Claim::Refused { by } => Some(refusal(namespace, by)),
            Claim::Failed { problem } => {
                Some(format!("cannot claim namespace {namespace}: {problem}"))
            }
            Claim::Held { .. } => None,
        });
        refused.collect::<Option<Vec<_>>>()?.into_iter().next()
    }

    /// Waits until every namespace was asked about once.
    pub async fn settled(&self) {
        let mut is_settled = self.0.is_settled.subscribe();
        if is_settled.wait_for(|is_settled| *is_settled).await.is_err() {
            std::future::pending().await
        }
    }

    fn set(&self, namespace: &str, claim: Claim) {
        let before = {
            let mut known = self.0.known.write();
            known.insert(namespace.to_owned(), claim.clone())
        };
        if before.as_ref().is_some_and(|before| before.is_like(&claim)) {
            return;
        }
        let identity = self.identity();
        match &claim {
            Claim::Refused { by } => tracing::error!(
                namespace,
                by,
                identity,
                "another operator serves this namespace; leaving its objects alone"
            ),
            Claim::Held {
                contender: Some(other),
                ..
            } => tracing::warn!(
                namespace,
                other,
                identity,
                "refused another operator that would serve this namespace too"
            ),
            Claim::Held { .. } => tracing::info!(namespace, identity, "serves this namespace"),
            Claim::Failed { problem } => tracing::warn!(
                namespace,
                identity,
                lease = CLAIM_LEASE,
                error = problem,
                "cannot claim this namespace; leaving its objects alone"
            ),
        }
        self.count();
        self.0.watches.touch();
    }

    fn keep_only(&self, wanted: &BTreeSet<String>) {
        let mut known = self.0.known.write();
        let before = known.len();
        known.retain(|namespace, _| wanted.contains(namespace));
        if known.len() != before {
            drop(known);
            self.count();
        }
    }

    fn count(&self) {
        let known = self.0.known.read();
        let held = known
            .values()
            .filter(|claim| matches!(claim, Claim::Held { .. }));
        let held = held.count();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.held.set(count(held));
        self.0.refused.set(count(known.len() - held));
    }
}

/// A refusal, for people.
#[must_use]
pub fn refusal(namespace: &str, by: &str) -> String {
    format!(
        "namespace {namespace} is served by operator {by}; set operator.namespaces so that each \
         namespace has one operator"
    )
}

impl Claim {
    fn is_certain(&self) -> bool {
        matches!(self, Self::Held { until, .. } if Instant::now() < *until)
    }

    /// Whether nothing but the time is different, for which nobody has to act.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Held { contender: one, .. },
                Self::Held {
                    contender: other, ..
                },
            ) => one == other && self.is_certain(),
            _ => self == other,
        }
    }
}

/// Claims namespaces and renews the claims.
pub struct Claimer {
    claims: Claims,
    client: Client,
    timing: Timing,
    entries: BTreeMap<String, Entry>,
}

/// What is remembered of a namespace between two looks.
#[derive(Debug, Default)]
struct Entry {
    due: Option<Instant>,
    looked: Option<Instant>,
    seen: Option<Seen>,
    mark: Option<Mark>,
    is_known: bool,
}

impl Claimer {
    /// Claims for `claims`.
    #[must_use]
    pub fn new(client: Client, claims: Claims, timing: Timing) -> Self {
        Self {
            claims,
            client,
            timing,
            entries: BTreeMap::new(),
        }
    }

    /// Claims the namespaces that `wanted` gives, for ever; only while this replica leads.
    pub async fn run(
        mut self,
        wanted: impl Fn() -> BTreeSet<String>,
        mut leadership: watch::Receiver<Leadership>,
    ) {
        let mut changed = self.claims.0.watches.changed();
        loop {
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            changed.mark_unchanged();
            let wanted = wanted();
            self.claims.keep_only(&wanted);
            self.entries
                .retain(|namespace, _| wanted.contains(namespace));
            self.attempt_due(wanted).await;
            if self.entries.values().all(|entry| entry.is_known) {
                self.claims.0.is_settled.send_replace(true);
            }
            let due = self.entries.values().filter_map(|entry| entry.due).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                ticked = changed.changed() => if ticked.is_err() { return },
                () = tokio::time::sleep_until(due.into()) => {}
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    async fn attempt_due(&mut self, wanted: BTreeSet<String>) {
        let now = Instant::now();
        let due: Vec<_> = wanted
            .into_iter()
            .filter_map(|namespace| {
                let entry = self.entries.remove(&namespace).unwrap_or_default();
                if entry.due.is_some_and(|due| due > now) {
                    self.entries.insert(namespace, entry);
                    return None;
                }
                Some((namespace, entry))
            })
            .collect();
        let this = &*self;
        let attempts = stream::iter(due).map(|(namespace, mut entry)| async move {
            let pause = this.attempt_logged(&namespace, &mut entry).await;
            let pause = pause.mul_f64(rand::random_range(0.8..1.0));
            entry.due = Some(Instant::now() + pause);
            (namespace, entry)
        });
        let done: Vec<_> = attempts.buffer_unordered(AT_ONCE).collect().await;
        self.entries.extend(done);
    }

    /// Gives the time until the next attempt.
    async fn attempt_logged(&self, namespace: &str, entry: &mut Entry) -> Duration {
        match self.attempt(namespace, entry).await {
            Ok(Some(claim)) => {
                entry.is_known = true;
                self.claims.set(namespace, claim);
                self.timing.renew
            }
            Ok(None) => self.timing.retry / 10,
            Err(error) => {
                // Whoever does not answer may still say that it is ours; a refusal is an answer.
                entry.is_known |= error.code().is_some_and(|code| code < 500);
                if !self.claims.holds(namespace) {
                    let problem = chain(&error);
                    self.claims.set(namespace, Claim::Failed { problem });
                }
                self.timing.retry
            }
        }
    }

    /// Looks at the Lease, and takes, renews or marks it if that is due. None if somebody else
    /// has just written it.
    async fn attempt(
        &self,
        namespace: &str,
        entry: &mut Entry,
    ) -> Result<Option<Claim>, CallError> {
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
        let found = within(deadline, api.get_opt(CLAIM_LEASE)).await?;
        let last_look = entry.looked.replace(started);
        let before = entry.seen.take();
        let was_seen = before.is_some();
        entry.seen = found.map(|lease| Seen::at(lease, started, before));
        entry.mark = entry
            .seen
            .as_ref()
            .and_then(|seen| Mark::of(&seen.lease, entry.mark.take(), started));
        let mark = entry.mark.as_ref();
        let mark = mark.filter(|mark| mark.is_fresh(started, self.timing.duration));
        let contender = mark.map(|mark| mark.by.clone()).filter(|by| by != me);
        let held = |until| Claim::Held {
            until,
            contender: contender.clone(),
        };
        let step = record::step(entry.seen.as_ref(), me, false, started);
        let (lease, claim) = match (step, &entry.seen) {
            (Step::Wait | Step::GiveWay { .. }, Some(seen)) => {
                let by = seen.holder().unwrap_or_default().to_owned();
                // Of several that are refused the first one is named.
                let is_marked = contender.is_some()
                    || mark.is_some_and(|mark| last_look.is_some_and(|it| mark.since > it));
                let mut lease = seen.lease.clone();
                mark::mark(&mut lease, me, Timestamp::now());
                ((!is_marked).then_some(lease), Claim::Refused { by })
            }
            (Step::Hold(lease), Some(seen)) => {
                let other_role_renewed =
                    was_seen && seen.holder() == Some(me) && seen.since == started;
                if let (true, Some(last_look)) = (other_role_renewed, last_look) {
                    (None, held(last_look + self.timing.duration))
                } else {
                    let mut lease = record::held(*lease, &candidate, Timestamp::now());
                    if contender.is_none() {
                        mark::unmark(&mut lease);
                    }
                    (Some(lease), held(started + self.timing.duration))
                }
            }
            (_, _) => {
                let lease = record::first(&candidate, Timestamp::now());
                (Some(lease), held(started + self.timing.duration))
            }
        };
        let Some(lease) = lease else {
            return Ok(Some(claim));
        };
        // An update creates a Lease that is not there, which a rule can allow by its name; and
        // without a resourceVersion it changes none that is.
        let parameters = PostParams::default();
        match within(deadline, api.replace(CLAIM_LEASE, &parameters, &lease)).await {
            Ok(lease) => {
                let written = Seen::at(lease, started, entry.seen.take());
                entry.mark = Mark::of(&written.lease, entry.mark.take(), started);
                entry.seen = Some(written);
                Ok(Some(claim))
            }
            Err(error) if error.is_conflict() || error.code() == Some(422) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
