//! What the leader does: it reconciles stacks whenever something changed, something ends by
//! itself, or something failed a while ago.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    build::{Doors, Surroundings, pod::PodDefaults},
    certificates::Trust,
    dereference::Seen,
    metrics::Metrics,
    reconcile::Reconciler,
};
use crate::{kubernetes::watch::Key, lease::Leadership};

/// What comes together is looked at together.
const TOGETHER: Duration = Duration::from_millis(20);
/// Everything is looked at this often though nothing has changed.
const RESYNC: Duration = Duration::from_secs(600);
/// After a status could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// Reconciles all stacks.
pub(super) struct Leader {
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) changed: watch::Receiver<u64>,
    pub(super) trust: watch::Receiver<Trust>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) doors: Doors,
    pub(super) cluster_domain: String,
    pub(super) pods: PodDefaults,
    pub(super) metrics: Metrics,
}

impl Leader {
    /// For ever; writes only while nobody else can be the leader.
    pub(super) async fn run(mut self) {
        let mut is_failing = HashMap::new();
        self.metrics.leader.set(1);
        loop {
            let mut leadership = self.leadership.clone();
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            let Some(trust) = self.trust().await else {
                return;
            };
            self.changed.mark_unchanged();
            let again = self.reconcile_all(&trust, &mut is_failing).await;
            let due = tokio::time::sleep(again.min(RESYNC));
            tokio::select! {
                ticked = self.changed.changed() => if ticked.is_err() { return },
                ticked = self.trust.changed() => if ticked.is_err() { return },
                () = due => {}
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// Waits for the authority, without which services could not know the doors, or for the reason
    /// why it is missing.
    async fn trust(&mut self) -> Option<Trust> {
        let is_known = |trust: &Trust| trust.authority.is_some() || trust.problem.is_some();
        let trust = self.trust.wait_for(is_known).await.ok()?;
        Some(trust.clone())
    }

    /// Gives the time after which to do so again.
    async fn reconcile_all(&self, trust: &Trust, is_failing: &mut HashMap<Key, bool>) -> Duration {
        let stacks = self.reconciler.cluster.stacks();
        let is_there = |key: &Key| stacks.iter().any(|stack| stack.key == *key);
        is_failing.retain(|key, _| is_there(key));
        self.reconciler.readings.keep_only(is_there);
        self.reconciler.losses.keep_only(is_there);
        self.metrics
            .stacks
            .set(i64::try_from(stacks.len()).unwrap_or(i64::MAX));
        let mut again = RESYNC;
        for stack in stacks.iter().filter(|stack| !stack.is_ending) {
            let namespace = &stack.key.namespace;
            if let Some(by) = self.reconciler.claims.refused_by(namespace) {
                self.reconciler.tell_refusal(stack, &by);
            }
            // Once it is claimed the watches tick.
            if !self.reconciler.claims.is_certain(namespace) {
                continue;
            }
            let next = self.reconcile(stack, trust, is_failing).await;
            again = again.min(next.unwrap_or(RESYNC));
        }
        again
    }

    async fn reconcile(
        &self,
        stack: &Seen,
        trust: &Trust,
        is_failing: &mut HashMap<Key, bool>,
    ) -> Option<Duration> {
        let started = Instant::now();
        let (reconciler, now) = (&self.reconciler, Timestamp::now());
        let problem = trust.problem.as_deref();
        let result = match &trust.authority {
            Some(authority) => {
                let surroundings = Surroundings {
                    doors: self.doors.clone(),
                    cluster_domain: self.cluster_domain.clone(),
                    authority: authority.clone(),
                    pods: self.pods.clone(),
                };
                reconciler
                    .reconcile(stack, &surroundings, problem, now)
                    .await
            }
            None => reconciler.report_untrusted(stack, problem, now).await,
        };
        self.metrics.reconciled(started.elapsed());
        let was_failing = is_failing.insert(stack.key.clone(), result.is_err());
        match result {
            Ok(again) => again,
            Err(error) => {
                // Once for each time that it begins.
                if was_failing != Some(true) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        stack = %stack.key,
                        "can't say what became of the stack"
                    );
                }
                Some(RETRY)
            }
        }
    }
}
