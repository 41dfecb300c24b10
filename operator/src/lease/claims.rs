//! The namespaces that this installation of the operator serves.
//!
//! Both roles of an installation claim under one identity, so that they never serve different
//! namespaces. The installation that comes second is refused: it leaves the namespace's objects
//! alone and adds its name to the Lease, so that the holder can report it in the status, which only
//! the holder writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use k8s_openapi::api::core::v1::ObjectReference;
use parking_lot::RwLock;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use spoor_api::status::{Condition, ConditionStatus, ConditionUpdate};
use tokio::sync::watch;

use crate::kubernetes::{events::Event, watch::Watches};

/// The name of the Lease in each namespace that is served.
pub const CLAIM_LEASE: &str = "spoor-operator";

/// The state of a namespace's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamespaceClaim {
    /// This installation serves the namespace.
    Held {
        /// The time before which no other installation can take over.
        until: Instant,
        /// Another installation that was refused recently.
        contender: Option<String>,
    },
    /// Another installation serves it.
    Refused {
        /// Its identity.
        by: String,
    },
    /// The API server did not let this installation claim the namespace.
    Failed {
        /// The reason, for people.
        problem: String,
    },
}

/// The claims of this installation. Clones share them.
#[derive(Clone)]
pub struct NamespaceClaims(Arc<Inner>);

struct Inner {
    identity: String,
    known: RwLock<BTreeMap<String, NamespaceClaim>>,
    /// True once the Lease of every namespace has been read, or the request for it refused.
    all_read: watch::Sender<bool>,
    watches: Watches,
    held: Gauge,
    refused: Gauge,
}

impl NamespaceClaims {
    /// Creates an empty set of claims for the installation `identity`. The `watches` report a
    /// change whenever a claim changes.
    #[must_use]
    pub fn new(identity: String, watches: Watches) -> Self {
        Self(Arc::new(Inner {
            identity,
            known: RwLock::default(),
            all_read: watch::Sender::new(false),
            watches,
            held: Gauge::default(),
            refused: Gauge::default(),
        }))
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Namespaces that this installation serves";
        registry.register("served_namespaces", help, self.0.held.clone());
        let help = "Namespaces that this installation should serve but could not claim";
        registry.register("refused_namespaces", help, self.0.refused.clone());
    }

    /// The identity of this installation.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// Returns true if this installation served the namespace when its Lease was last read.
    #[must_use]
    pub fn holds(&self, namespace: &str) -> bool {
        let known = self.0.known.read();
        matches!(known.get(namespace), Some(NamespaceClaim::Held { .. }))
    }

    /// Returns true if this installation serves the namespace and no other one can have taken over.
    /// Only then may it write to objects there.
    #[must_use]
    pub fn is_certain(&self, namespace: &str) -> bool {
        let known = self.0.known.read();
        known.get(namespace).is_some_and(NamespaceClaim::is_certain)
    }

    /// The installation that serves the namespace instead of this one.
    #[must_use]
    pub fn refused_by(&self, namespace: &str) -> Option<String> {
        match self.0.known.read().get(namespace)? {
            NamespaceClaim::Refused { by } => Some(by.clone()),
            NamespaceClaim::Held { .. } | NamespaceClaim::Failed { .. } => None,
        }
    }

    /// The condition `Contested` for objects in a namespace that another installation tried to
    /// claim.
    #[must_use]
    pub fn contested(&self, namespace: &str) -> Option<(&'static str, ConditionUpdate)> {
        let known = self.0.known.read();
        let NamespaceClaim::Held { contender, .. } = known.get(namespace)? else {
            return None;
        };
        let other = contender.as_ref()?;
        let identity = self.identity();
        let message = format!(
            "operator {identity} serves namespace {namespace} and refused operator {other}; \
             set operator.namespaces so that each namespace has one operator"
        );
        let update = ConditionUpdate::new(ConditionStatus::True, "AnotherOperator", message);
        Some((Condition::CONTESTED, update))
    }

    /// The reason why this installation serves no namespace, if it was refused in all of them.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let known = self.0.known.read();
        let refused = known.iter().map(|(namespace, claim)| match claim {
            NamespaceClaim::Refused { by } => Some(refusal(namespace, by)),
            NamespaceClaim::Failed { problem } => {
                Some(format!("cannot claim namespace {namespace}: {problem}"))
            }
            NamespaceClaim::Held { .. } => None,
        });
        // None as soon as one namespace is held: an installation that serves at least one namespace
        // is ready.
        refused.collect::<Option<Vec<_>>>()?.into_iter().next()
    }

    /// The event on an object in a namespace that another installation serves.
    #[must_use]
    pub fn refusal_event(&self, regarding: ObjectReference, by: &str) -> Event {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let refusal = refusal(&namespace, by);
        Event {
            regarding,
            is_warning: true,
            reason: "ServedByAnotherOperator".to_owned(),
            action: "Refuse",
            note: format!(
                "operator {} leaves this object alone: {refusal}",
                self.identity()
            ),
        }
    }

    /// The watches that report a change whenever a claim changes.
    pub(super) fn watches(&self) -> &Watches {
        &self.0.watches
    }

    /// Records that the Lease of every namespace has been read, or the request for it refused.
    pub(super) fn set_all_read(&self) {
        self.0.all_read.send_replace(true);
    }

    /// Waits until the Lease of every namespace has been read, or the request for it refused.
    pub async fn wait_until_read(&self) {
        let mut all_read = self.0.all_read.subscribe();
        // The sender outlives the wait, so it cannot fail.
        let _ = all_read.wait_for(|all_read| *all_read).await;
    }

    pub(super) fn set(&self, namespace: &str, claim: NamespaceClaim) {
        let name = namespace.to_owned();
        let before = self.0.known.write().insert(name, claim.clone());
        // Renewals are not reported: each report reconciles every stack, and each claim is renewed
        // about every 20 s.
        if before.as_ref().is_some_and(|it| it.is_renewed_by(&claim)) {
            return;
        }
        let identity = self.identity();
        match &claim {
            NamespaceClaim::Refused { by } => tracing::error!(
                namespace,
                by,
                identity,
                "another operator serves this namespace; leaving its objects alone"
            ),
            NamespaceClaim::Held {
                contender: Some(other),
                ..
            } => tracing::warn!(
                namespace,
                other,
                identity,
                "refused another operator that tried to claim this namespace"
            ),
            NamespaceClaim::Held { .. } => {
                tracing::info!(namespace, identity, "claimed this namespace")
            }
            NamespaceClaim::Failed { problem } => tracing::warn!(
                namespace,
                identity,
                lease = CLAIM_LEASE,
                error = problem,
                "cannot claim this namespace; leaving its objects alone"
            ),
        }
        self.update_gauges();
        self.0.watches.notify();
    }

    pub(super) fn keep_only(&self, desired: &BTreeSet<String>) {
        let mut known = self.0.known.write();
        let before = known.len();
        known.retain(|namespace, _| desired.contains(namespace));
        if known.len() != before {
            // `update_gauges` takes the same lock, which is not reentrant.
            drop(known);
            self.update_gauges();
        }
    }

    fn update_gauges(&self) {
        // Both gauges from one lock, so that a scrape never counts a namespace twice.
        let known = self.0.known.read();
        let is_held = |claim: &&NamespaceClaim| matches!(claim, NamespaceClaim::Held { .. });
        let held = known.values().filter(is_held).count();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.held.set(count(held));
        self.0.refused.set(count(known.len() - held));
    }
}

/// The message of a refusal.
fn refusal(namespace: &str, by: &str) -> String {
    format!(
        "namespace {namespace} is served by operator {by}; set operator.namespaces so that each \
         namespace has one operator"
    )
}

impl NamespaceClaim {
    fn is_certain(&self) -> bool {
        matches!(self, Self::Held { until, .. } if Instant::now() < *until)
    }

    /// Returns true if `other` only renews this claim, which requires no action.
    fn is_renewed_by(&self, other: &Self) -> bool {
        // Not if the claim had expired: after its renewal, objects may be written again.
        match (self, other) {
            (Self::Held { contender, .. }, Self::Held { contender: new, .. }) => {
                contender == new && self.is_certain()
            }
            _ => self == other,
        }
    }
}
