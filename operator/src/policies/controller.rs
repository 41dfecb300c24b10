//! The leader's control loops: one resolves and publishes when something has changed or expired,
//! one writes statuses.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use spoor_api::SamplingPolicy;
use spoor_control::Control;
use tokio::sync::{Notify, watch};

use super::{
    evidence::EvidenceSources,
    metrics::{PoliciesMetrics, as_i64},
    objects::PolicyObject,
    publish::publish,
    resolution::{NamespacedService, ResolutionInputs, ResolvedPolicies},
    sources::PolicySources,
    status::Statuses,
};
use crate::{
    kubernetes::{events::EventQueue, resources::reference, watch::Watches},
    lease::{Leadership, NamespaceClaims},
};

/// The time for which changes are collected: the API server sends a change of many objects as many
/// events.
const DEBOUNCE_DELAY: Duration = Duration::from_millis(3);
/// The longest wait for an expiry. The clock may be set meanwhile, so a later expiry is checked
/// again after this time.
const MAX_EXPIRY_WAIT: Duration = Duration::from_secs(3600);
/// The interval between reads of clients' reports while clients are applying something.
const ACTIVE_INTERVAL: Duration = Duration::from_millis(50);
/// The interval between reads of clients' reports otherwise.
const IDLE_INTERVAL: Duration = Duration::from_secs(2);
/// The time after a publication for which clients are expected to be applying it.
const ACTIVE_PERIOD: Duration = Duration::from_secs(3);

/// The parts that the two loops share.
pub(super) struct PoliciesController {
    pub(super) sources: PolicySources,
    pub(super) watches: Watches,
    pub(super) control: Control,
    pub(super) metrics: PoliciesMetrics,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) claims: NamespaceClaims,
    pub(super) events: Arc<EventQueue>,
    pub(super) state: ControllerState,
}

/// The state that the two loops exchange.
#[derive(Default)]
pub(super) struct ControllerState {
    resolved: ArcSwapOption<ResolvedSnapshot>,
    /// Counts resolutions.
    resolutions: watch::Sender<u64>,
    /// Notified when the first client of a service opens a stream.
    new_services: Notify,
    /// The services for which a client has opened a stream. Those that no longer have pods are
    /// removed when another one is added.
    connected: ArcSwapOption<BTreeSet<NamespacedService>>,
}

/// Policies and their resolution. Together, so that no status combines one generation of a policy
/// with the resolution of another.
struct ResolvedSnapshot {
    policies: Vec<Arc<PolicyObject>>,
    resolved: Arc<ResolvedPolicies>,
}

impl PoliciesController {
    /// Resolves and publishes if anything has changed. Passes rings on to samplers even if nothing
    /// has. Returns the time of the next expiry.
    pub(super) fn resolve(&self) -> Option<Timestamp> {
        let started = Instant::now();
        let now = Timestamp::now();
        let snapshot = self.sources.snapshot(&self.claims);
        self.report_refusals();
        self.control.set_rings(snapshot.rings());
        let connected = self.state.connected.load_full().unwrap_or_default();
        let inputs = ResolutionInputs::of(&snapshot, &connected);
        let before = self.state.resolved.load_full();
        let before = before.map(|before| before.resolved.clone());
        let resolved = match &before {
            Some(before) if before.is_current_for(&inputs, now) => {
                match before.with_stacks(&snapshot) {
                    Some(updated) => {
                        publish(&self.control, &updated, Some(&**before));
                        Arc::new(updated)
                    }
                    None => before.clone(),
                }
            }
            _ => {
                let _span = tracing::info_span!(
                    "resolve",
                    otel.name = "resolve policies",
                    spoor.policies = as_i64(inputs.policies.len()),
                    spoor.expected_instances = as_i64(inputs.instances.len()),
                )
                .entered();
                let resolved = ResolvedPolicies::new(inputs, &snapshot, now);
                publish(&self.control, &resolved, before.as_deref());
                self.metrics.resolved(&resolved.inputs, started.elapsed());
                Arc::new(resolved)
            }
        };
        let next_expiry = resolved.resolution.next_expiry;
        // After the publication, so that no status reports a plan that is not served yet.
        self.state.resolved.store(Some(Arc::new(ResolvedSnapshot {
            policies: snapshot.policies,
            resolved,
        })));
        // Even if the resolution is the same: the change may be an edited status.
        self.state
            .resolutions
            .send_modify(|count| *count = count.wrapping_add(1));
        next_expiry
    }

    /// Publishes an event on each policy of a namespace that another installation serves.
    fn report_refusals(&self) {
        for policy in self.sources.policies.all() {
            if let Some(by) = self.claims.refused_by(&policy.key.namespace) {
                let regarding = reference(SamplingPolicy::KIND, &policy.key, &policy.uid);
                self.events
                    .publish(self.claims.refusal_event(regarding, &by));
            }
        }
    }

    /// Resolves at every change, until the watches end. `changed` and `expiry` are those of the
    /// first resolution.
    pub(super) async fn run_resolver(
        &self,
        mut changed: watch::Receiver<u64>,
        mut expiry: Option<Timestamp>,
    ) {
        loop {
            tokio::select! {
                ticked = changed.changed() => if ticked.is_err() { return },
                () = self.state.new_services.notified() => {}
                () = sleep_until_expiry(expiry) => {}
            }
            tokio::time::sleep(DEBOUNCE_DELAY).await;
            // Before the resolution reads the stores: a change in between causes another one.
            changed.mark_unchanged();
            expiry = self.resolve();
        }
    }

    /// Writes statuses as they become due, until the election ends. Writes only while no other
    /// replica can be the leader.
    pub(super) async fn run_status_writer(&self, mut statuses: Statuses) {
        let mut resolutions = self.state.resolutions.subscribe();
        let mut reports = self.control.changed();
        let mut leadership = self.leadership.clone();
        let mut active_until = Instant::now();
        let mut last: Option<Arc<ResolvedPolicies>> = None;
        loop {
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            resolutions.mark_unchanged();
            reports.mark_unchanged();
            self.update_connected();
            let Some(snapshot) = self.state.resolved.load_full() else {
                return;
            };
            let ResolvedSnapshot { policies, resolved } = &*snapshot;
            let is_same = |last: &Arc<ResolvedPolicies>| Arc::ptr_eq(last, resolved);
            if !last.as_ref().is_some_and(is_same) {
                active_until = Instant::now() + ACTIVE_PERIOD;
                last = Some(resolved.clone());
            }
            let evidence = EvidenceSources {
                control: &self.control,
                pods: &self.sources.pods,
                mismatches: &self.sources.mismatches,
            };
            let next = statuses.write(policies, resolved, &evidence).await;
            let now = Instant::now();
            let interval = match next.has_pending_changes || now < active_until {
                true => ACTIVE_INTERVAL,
                false => IDLE_INTERVAL,
            };
            // Reports arrive continuously, so they are read at intervals; resolutions and due
            // writes are not delayed.
            let due = next.at.unwrap_or(now + MAX_EXPIRY_WAIT);
            tokio::select! {
                ticked = resolutions.changed() => if ticked.is_err() { return },
                () = tokio::time::sleep_until(due.into()) => {}
                () = async {
                    if reports.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep_until((now + interval).into()).await;
                } => {}
            }
        }
    }

    /// Remembers the services that have had clients, so that the pod of a client that has
    /// disconnected is still expected.
    fn update_connected(&self) {
        let instances = self.control.instances().into_iter();
        let connected = instances
            .filter(|it| it.is_connected)
            .map(|it| (it.instance.namespace, it.instance.service));
        let known = self.state.connected.load_full().unwrap_or_default();
        let mut services: BTreeSet<NamespacedService> = connected.collect();
        services.extend(known.iter().cloned());
        // There are many pods, and this runs up to twenty times a second, so they are read only if
        // a new service has connected.
        if services != *known {
            let pods = self.sources.pods.all();
            let with_pods: BTreeSet<_> = pods
                .iter()
                .filter_map(|pod| Some((&pod.namespace, pod.service.as_ref()?)))
                .collect();
            services.retain(|(namespace, service)| with_pods.contains(&(namespace, service)));
        }
        if services != *known {
            self.state.connected.store(Some(Arc::new(services)));
            self.state.new_services.notify_one();
        }
    }
}

async fn sleep_until_expiry(time: Option<Timestamp>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    let left = Timestamp::now().duration_until(time);
    let left = Duration::try_from(left).unwrap_or_default();
    tokio::time::sleep(left.min(MAX_EXPIRY_WAIT)).await;
}
