//! One service: its plan, its instances, its counts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use spoor_policy::{OperationName, Plan, Version};
use tokio::sync::{Semaphore, watch};

use crate::{
    counts::{AttributedCounts, CountDelta},
    history::{History, MAX_PLAN_BYTES},
    instance::{Instance, InstanceState, ServiceKey},
    processes::Processes,
    served_plan::{self, ServedPlan},
};

/// The most operations of one service that are remembered as seen, as many as a plan may have.
const MAX_OPERATIONS_SEEN: usize = 4_096;

/// The number of operations seen above which a publication forgets those that the new plan does not
/// name. Policies may name new operations again and again, for each of thousands of services.
const MAX_EARLIER_OPERATIONS_SEEN: usize = 128;

/// A service with instances that are connected or expected, or whose SDKs report metrics.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) key: ServiceKey,
    outgoing: watch::Sender<Outgoing>,
    is_rebalance_claimed: AtomicBool,
    state: Mutex<ServiceState>,
}

/// The newest messages for the streams of a service. Streams that lag skip older ones.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// `None` before the first publication.
    pub(crate) plan: Option<Arc<ServedPlan>>,
    /// The encoded faults.
    pub(crate) faults: Bytes,
    /// A number that changes with the shares of any process.
    pub(crate) shares: u64,
}

/// The processes of each instance.
pub(crate) type Instances = HashMap<Arc<str>, Processes>;

/// The changing state of a service, under one lock.
#[derive(Debug, Default)]
pub(crate) struct ServiceState {
    pub(crate) served: Option<Arc<ServedPlan>>,
    pub(crate) history: History,
    pub(crate) instances: Instances,
    /// The IDs of the expected instances.
    pub(crate) expected: BTreeSet<String>,
    /// The number of connected processes.
    pub(crate) connected: usize,
    /// The earliest time of the next adjustment of shares.
    pub(crate) next_lending: Option<Instant>,
    /// True once any root decision was reported.
    pub(crate) has_roots: bool,
    /// The time of the last report of an unmodified SDK.
    pub(crate) last_sdk_report: Option<Instant>,
    pub(crate) operations_seen: BTreeSet<OperationName>,
    /// The time of the first report of any process.
    pub(crate) first_report: Option<Instant>,
}

impl Service {
    pub(crate) fn new(key: ServiceKey, faults: Bytes) -> Self {
        let outgoing = Outgoing {
            plan: None,
            faults,
            shares: 0,
        };
        Self {
            key,
            outgoing: watch::Sender::new(outgoing),
            is_rebalance_claimed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Locks the state. `lib.rs` has the lock order.
    pub(crate) fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock()
    }

    /// The newest messages, for a new stream.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Outgoing> {
        self.outgoing.subscribe()
    }

    /// Serves a plan to a number of instances, unless nothing changes for them. `room` is for the
    /// remembered plans of all services, in bytes.
    ///
    /// Returns true if the plan is served as a new version.
    pub(crate) fn publish(
        &self,
        plan: &Plan,
        version: Version,
        published: Instant,
        instances: usize,
        room: &Arc<Semaphore>,
    ) -> bool {
        let mut state = self.state();
        state.forget_operations(plan);
        let is_short = room.available_permits() < MAX_PLAN_BYTES / 2;
        // Without instances, no process can report counts under earlier plans. When room is short,
        // those that disconnected processes might still report are given up.
        if state.instances.is_empty() || is_short && state.connected == 0 {
            state.history.keep_newest();
        }
        let digest = served_plan::digest(plan, instances);
        // Equal digests mean equal behaviour, so nothing is sent.
        if state.served.as_ref().is_some_and(|it| it.digest == digest) {
            state.history.rename_policies(plan, room);
            return false;
        }
        let served = Arc::new(ServedPlan::new(plan, version, published, instances));
        state.history.push(version, plan.clone(), room);
        state.served = Some(served.clone());
        // The streams that this notifies lock the state, to record the plan as sent.
        drop(state);
        self.outgoing
            .send_modify(|outgoing| outgoing.plan = Some(served));
        true
    }

    pub(crate) fn set_faults(&self, faults: Bytes) {
        // An equal message would wake all streams of the service for nothing.
        self.outgoing.send_if_modified(|outgoing| {
            let is_new = outgoing.faults != faults;
            outgoing.faults = faults;
            is_new
        });
    }

    /// Notifies streams of new shares of their processes.
    pub(crate) fn notify_shares(&self) {
        self.outgoing.send_modify(|outgoing| {
            outgoing.shares = outgoing.shares.wrapping_add(1);
        });
    }

    /// Claims the next division of the rate limits. Returns false if it is claimed already.
    pub(crate) fn claim_rebalance(&self) -> bool {
        !self.is_rebalance_claimed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn release_rebalance(&self) {
        self.is_rebalance_claimed.store(false, Ordering::Release);
    }

    /// Every instance that is expected or connected, by ID.
    pub(crate) fn instances(&self, silent_after: Duration, now: Instant) -> Vec<InstanceState> {
        let state = self.state();
        let served = state.served.as_deref();
        let unknown = Processes::default();
        let states = state.expected_or_connected().map(|(id, processes)| {
            let processes = processes.unwrap_or(&unknown);
            let instance = Instance {
                namespace: self.key.0.clone(),
                service: self.key.1.clone(),
                id: id.to_owned(),
            };
            let is_expected = state.expected.contains(id);
            processes.instance_state(instance, is_expected, served, silent_after, now)
        });
        let mut states: Vec<InstanceState> = states.collect();
        states.sort_by(|one, other| one.instance.id.cmp(&other.instance.id));
        states
    }
}

impl ServiceState {
    /// Every instance that is expected or connected, with its processes if any are known.
    pub(crate) fn expected_or_connected(&self) -> impl Iterator<Item = (&str, Option<&Processes>)> {
        let expected = self
            .expected
            .iter()
            .map(|id| (id.as_str(), self.instances.get(id.as_str())));
        let others = self
            .instances
            .iter()
            .filter(|(id, processes)| processes.is_connected() && !self.expected.contains(&***id))
            .map(|(id, processes)| (&**id, Some(processes)));
        expected.chain(others)
    }

    /// True if any instance is expected or connected. Does not iterate over the known instances, since
    /// thousands may have disconnected.
    pub(crate) fn has_instances(&self) -> bool {
        self.connected > 0 || !self.expected.is_empty()
    }

    /// True if an instance with this ID is known or expected.
    pub(crate) fn has_instance(&self, instance: &str) -> bool {
        self.expected.contains(instance) || self.instances.contains_key(instance)
    }

    /// Forgets the operations that were seen under earlier plans and that this one does not name, if
    /// many were seen or no process is connected.
    fn forget_operations(&mut self, plan: &Plan) {
        if self.connected > 0 && self.operations_seen.len() <= MAX_EARLIER_OPERATIONS_SEEN {
            return;
        }
        let phases = plan.phases();
        let is_named = |it: &_| {
            phases
                .iter()
                .any(|at| at.strategies.operations.contains_key(it))
        };
        self.operations_seen.retain(is_named);
    }

    /// Forgets the processes of an instance that have not reconnected.
    pub(crate) fn forget_disconnected(&mut self, instance: &str) {
        let Some(processes) = self.instances.get_mut(instance) else {
            return;
        };
        processes.keep_connected();
        if processes.is_empty() {
            self.instances.remove(instance);
        }
    }

    /// Adds increases to the history, and attributes each to the policy that decided it.
    ///
    /// Increases whose policy is not known for certain are left out of the result.
    pub(crate) fn add(&mut self, deltas: &[CountDelta]) -> Vec<AttributedCounts> {
        let mut attributed = vec![];
        for CountDelta { key, phase, counts } in deltas {
            self.has_roots |= counts.started > 0;
            if let Some(operation) = &key.operation
                && self.operations_seen.len() < MAX_OPERATIONS_SEEN
            {
                self.operations_seen.insert(operation.clone());
            }
            if let Some((policy, strategy)) = self.history.add(key, *phase, *counts) {
                attributed.push(AttributedCounts {
                    policy,
                    strategy,
                    operation: key.operation.clone(),
                    counts: *counts,
                });
            }
        }
        attributed
    }
}
