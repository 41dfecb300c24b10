//! The leader's control loop: reconciles a stack when something changed, when its last attempt
//! failed a while ago, or when the result of its last attempt has expired.
//!
//! Stacks are reconciled concurrently, each in a task of its own and with its own time for the next
//! attempt, so that a stack whose API calls hang or fail does not delay others. kube's `Controller`
//! would do that too, but with a watch of its own for each kind and whole objects in its stores,
//! while here one trimmed store serves the reconciler, the loss monitor and the claims. With
//! `buffer_unordered` over all stacks each round would still wait for the slowest one. Unlike
//! futures that this loop polls, the tasks of a `JoinSet` also make progress while the loop waits
//! for its lease.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_api::TracingStack;
use spoor_runtime::{self_tracing::record_error, with_causes};
use tokio::{sync::watch, task::JoinSet};
use tracing::{Instrument, Span, field::Empty};

use super::{
    build::BuildContext, certificates::Trust, metrics::StacksMetrics, parse::StackObject,
    reconcile::Reconciler, settings::StacksSettings,
};
use crate::{
    kubernetes::{apply::ApplyError, watch::Key},
    lease::Leadership,
};

/// The time for which changes are collected, since one change of a stack comes as several events.
const DEBOUNCE_DELAY: Duration = Duration::from_millis(20);
/// The interval at which every stack is reconciled even if nothing has changed.
const RESYNC_INTERVAL: Duration = Duration::from_secs(600);
/// The delay before the next attempt after a status could not be written.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// The most stacks that are reconciled at a time. Each makes its calls to the API server one after
/// another, so this also bounds the load on it.
const MAX_CONCURRENT_RECONCILES: usize = 32;

/// Reconciles all stacks.
pub(super) struct StacksController {
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) changed: watch::Receiver<u64>,
    pub(super) trust: watch::Receiver<Trust>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) settings: StacksSettings,
    pub(super) metrics: StacksMetrics,
}

/// The schedule of one stack.
#[derive(Debug, Default)]
struct Schedule {
    /// The time of the next attempt; none until the running one ends or something changes.
    next: Option<Instant>,
    is_running: bool,
    is_failing: bool,
}

/// The end of one attempt.
struct Reconciled {
    key: Key,
    took: Duration,
    result: Result<Option<Duration>, ApplyError>,
}

impl StacksController {
    /// Reconciles until the election ends. Starts attempts only while no other replica can be
    /// the leader.
    pub(super) async fn run(mut self) {
        let mut schedules = HashMap::new();
        let mut running = JoinSet::new();
        // Without the certificate authority services could not verify the policy endpoints.
        let is_known = |trust: &Trust| trust.authority.is_some() || trust.problem.is_some();
        if self.trust.wait_for(is_known).await.is_err() {
            return;
        }
        self.changed.mark_unchanged();
        loop {
            // Checked before each round, so that a leader whose lease may have expired starts
            // nothing.
            let mut leadership = self.leadership.clone();
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            let next = self.start_due(&mut schedules, &mut running);
            let ticked = tokio::select! {
                ticked = self.changed.changed() => ticked,
                ticked = self.trust.changed() => ticked,
                Some(ended) = running.join_next() => match ended {
                    Ok(reconciled) => {
                        self.finish(reconciled, &mut schedules);
                        continue;
                    }
                    Err(error) if error.is_panic() => {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    // These tasks are cancelled only when this function ends.
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(next.into()) => continue,
            };
            if ticked.is_err() {
                return;
            }
            self.make_due(&mut schedules).await;
        }
    }

    /// Makes all stacks due after a change. Those that are being reconciled are reconciled once
    /// more afterwards.
    async fn make_due(&mut self, schedules: &mut HashMap<Key, Schedule>) {
        tokio::time::sleep(DEBOUNCE_DELAY).await;
        // Only here, where all stacks become due: a change during any other step of the loop makes
        // them due once more.
        self.changed.mark_unchanged();
        self.trust.mark_unchanged();
        let now = Instant::now();
        for schedule in schedules.values_mut() {
            // A stack that waits for a free slot keeps its position.
            schedule.next = Some(schedule.next.map_or(now, |next| next.min(now)));
        }
    }

    /// Starts the attempts that are due. Returns the time at which the next one will be.
    fn start_due(
        &self,
        schedules: &mut HashMap<Key, Schedule>,
        running: &mut JoinSet<Reconciled>,
    ) -> Instant {
        let trust = self.trust.borrow().clone();
        let now = Instant::now();
        let mut next_due = now + RESYNC_INTERVAL;
        let mut due = vec![];
        for stack in self.stacks(schedules) {
            let namespace = &stack.key.namespace;
            if stack.is_being_deleted {
                continue;
            }
            if let Some(by) = self.reconciler.claims.refused_by(namespace) {
                self.reconciler.report_refusal(&stack, &by);
            }
            // The watches report a change once the namespace is claimed.
            if !self.reconciler.claims.is_certain(namespace) {
                continue;
            }
            let schedule = schedules.entry(stack.key.clone()).or_default();
            if schedule.is_running {
                continue;
            }
            let next = *schedule.next.get_or_insert(now);
            if next <= now {
                due.push((next, stack));
            } else {
                next_due = next_due.min(next);
            }
        }
        // Those that have waited longest come first. The end of a running attempt makes room for
        // those that do not fit, and wakes the loop.
        due.sort_by_key(|(next, _)| *next);
        let free_slots = MAX_CONCURRENT_RECONCILES.saturating_sub(running.len());
        for (_, stack) in due.into_iter().take(free_slots) {
            if let Some(schedule) = schedules.get_mut(&stack.key) {
                schedule.next = None;
                schedule.is_running = true;
            }
            running.spawn(self.attempt(stack, &trust));
        }
        next_due
    }

    /// All stacks, after forgetting those that are gone.
    fn stacks(&self, schedules: &mut HashMap<Key, Schedule>) -> Vec<Arc<StackObject>> {
        let stacks = self.reconciler.sources.stacks.all();
        let exists = |key: &Key| stacks.binary_search_by(|stack| stack.key.cmp(key)).is_ok();
        // A running attempt keeps its schedule, so that no second one starts alongside it if the
        // stack is created again.
        schedules.retain(|key, schedule| schedule.is_running || exists(key));
        self.reconciler.collector_probe.keep_only(exists);
        self.reconciler.losses.keep_only(exists);
        let uids: HashSet<&str> = stacks.iter().map(|stack| &*stack.uid).collect();
        self.reconciler.applier.keep_only(|uid| uids.contains(uid));
        let count = i64::try_from(stacks.len()).unwrap_or(i64::MAX);
        self.metrics.stacks.set(count);
        stacks
    }

    fn attempt(
        &self,
        stack: Arc<StackObject>,
        trust: &Trust,
    ) -> impl Future<Output = Reconciled> + Send + use<> {
        let reconciler = self.reconciler.clone();
        let problem = trust.problem.clone();
        let context = trust.authority.clone().map(|authority| BuildContext {
            policies_service: self.settings.policies_service.clone(),
            cluster_domain: self.settings.cluster_domain.clone(),
            authority,
            pods: self.settings.pods.clone(),
            sampler_image: self.settings.sampler_image.clone(),
        });
        let span = tracing::info_span!(
            "reconcile",
            otel.name = "reconcile TracingStack",
            otel.status_code = Empty,
            otel.status_description = Empty,
            k8s.namespace.name = stack.key.namespace,
            k8s.object.kind = TracingStack::KIND,
            k8s.object.name = stack.key.name,
            spoor.generation = stack.generation,
            spoor.outcome = Empty,
        );
        let attempt = async move {
            let (started, now) = (Instant::now(), Timestamp::now());
            let (context, problem) = (context.as_ref(), problem.as_deref());
            let result = reconciler.reconcile(&stack, context, problem, now).await;
            if let Err(error) = &result {
                record_error(&Span::current(), &with_causes(error));
            }
            Reconciled {
                key: stack.key.clone(),
                took: started.elapsed(),
                result,
            }
        };
        attempt.instrument(span)
    }

    /// Records the end of an attempt, and schedules the next one.
    fn finish(&self, reconciled: Reconciled, schedules: &mut HashMap<Key, Schedule>) {
        let Reconciled { key, took, result } = reconciled;
        self.metrics.reconciled(took);
        let Some(schedule) = schedules.get_mut(&key) else {
            return;
        };
        let was_failing = std::mem::replace(&mut schedule.is_failing, result.is_err());
        let delay = match result {
            Ok(delay) => delay.unwrap_or(RESYNC_INTERVAL),
            Err(error) => {
                // One line for each series of failures.
                if !was_failing {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        stack = %key,
                        "cannot write the stack's status; retrying"
                    );
                }
                RETRY_DELAY
            }
        };
        schedule.is_running = false;
        // Something may have changed during the attempt: then the next one is due already.
        let next = Instant::now() + delay.min(RESYNC_INTERVAL);
        schedule.next = Some(schedule.next.map_or(next, |due| due.min(next)));
    }
}
