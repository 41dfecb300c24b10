//! One service: its plan, its instances, its counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::AddAssign,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use spoor_policy::{Namespace, OperationName, Plan, PolicyName, ServiceName, Strategy, Version};
use tokio::sync::watch;

use crate::{
    control::Departed,
    ledger::{Delta, Entry},
    processes::Processes,
    record::Record,
    served::{self, Served},
};

/// The publications whose counts are still told apart.
const HISTORY: usize = 32;

/// The most operations of one service whose appearance is remembered.
const MAX_OPERATIONS_SEEN: usize = 4_096;

/// Root decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub started: u64,
    /// Those that keep the trace.
    pub sampled: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.started = self.started.saturating_add(other.started);
        self.sampled = self.sampled.saturating_add(other.sampled);
    }
}

/// A service that somebody is, or should be, an instance of.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) namespace: Namespace,
    pub(crate) name: ServiceName,
    pub(crate) outgoing: watch::Sender<Outgoing>,
    /// True while its rate limit is about to be divided again.
    pub(crate) is_settling: AtomicBool,
    state: Mutex<State>,
}

/// The messages that every stream of a service should have: the newest, not a queue.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// None before the first publication.
    pub(crate) plan: Option<Arc<Served>>,
    pub(crate) faults: Bytes,
    /// Changes with the shares of any process.
    pub(crate) shares: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) served: Option<Arc<Served>>,
    pub(crate) history: History,
    pub(crate) instances: HashMap<Arc<str>, Processes>,
    pub(crate) expected: BTreeSet<String>,
    pub(crate) live: usize,
    /// The last look at what processes leave of their shares, and lack.
    pub(crate) lent: Option<Instant>,
    pub(crate) has_roots: bool,
    /// When an unmodified SDK last counted its roots.
    pub(crate) reported: Option<Instant>,
    pub(crate) operations_seen: BTreeSet<OperationName>,
    /// When a process first reported.
    pub(crate) first_report: Option<Instant>,
}

impl Service {
    pub(crate) fn new(namespace: Namespace, name: ServiceName, faults: Bytes) -> Self {
        let outgoing = Outgoing {
            plan: None,
            faults,
            shares: 0,
        };
        Self {
            namespace,
            name,
            outgoing: watch::Sender::new(outgoing),
            is_settling: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Serves a plan from now on, if it says anything new to one of so many instances.
    pub(crate) fn publish(
        &self,
        plan: &Plan,
        version: Version,
        published: Instant,
        instances: usize,
    ) -> bool {
        let mut state = self.state();
        let digest = served::digest(plan, instances);
        if state.served.as_ref().is_some_and(|it| it.digest == digest) {
            state.history.rename(plan);
            return false;
        }
        let served = Arc::new(Served::new(plan, version, published, instances));
        state.history.push(version, plan.clone());
        state.served = Some(served.clone());
        drop(state);
        self.outgoing
            .send_modify(|outgoing| outgoing.plan = Some(served));
        true
    }

    pub(crate) fn set_faults(&self, faults: Bytes) {
        self.outgoing.send_if_modified(|outgoing| {
            let is_new = outgoing.faults != faults;
            outgoing.faults = faults;
            is_new
        });
    }
}

impl State {
    /// Everyone who should be there or is, with what is known of them.
    pub(crate) fn relevant(&self) -> impl Iterator<Item = (&str, Option<&Processes>)> {
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

    /// True if there is, or should be, an instance of this name.
    pub(crate) fn knows(&self, instance: &str) -> bool {
        self.expected.contains(instance) || self.instances.contains_key(instance)
    }

    /// The record of a process.
    pub(crate) fn process(&mut self, instance: &str, start: &str) -> Option<&mut Record> {
        self.instances.get_mut(instance)?.get_mut(start)
    }

    /// Forgets a process, unless it has come back.
    pub(crate) fn forget(&mut self, process: &Departed) {
        let Some(processes) = self.instances.get_mut(&process.instance) else {
            return;
        };
        let is_gone = processes
            .get(&process.start)
            .is_some_and(|it| !it.is_connected && it.generation == process.generation);
        if is_gone {
            processes.remove(&process.start);
        }
        if processes.is_empty() {
            self.instances.remove(&process.instance);
        }
    }

    /// Adds up what is new and says whose it is.
    pub(crate) fn add(&mut self, deltas: &[Delta]) -> Vec<Owned> {
        let mut owned = vec![];
        for Delta {
            entry,
            phase,
            counts,
        } in deltas
        {
            self.has_roots |= counts.started > 0;
            if let Some(operation) = &entry.operation
                && self.operations_seen.len() < MAX_OPERATIONS_SEEN
            {
                self.operations_seen.insert(operation.clone());
            }
            if let Some((policy, strategy)) = self.history.add(entry, *phase, *counts) {
                owned.push(Owned {
                    policy,
                    strategy,
                    operation: entry.operation.clone(),
                    counts: *counts,
                });
            }
        }
        owned
    }
}

/// Counts that a policy decided.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) policy: PolicyName,
    pub(crate) strategy: Strategy,
    /// None: all that the plan does not name.
    pub(crate) operation: Option<OperationName>,
    pub(crate) counts: Counts,
}

/// The newest publications of one service, with what was counted under each.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Past>);

#[derive(Debug)]
struct Past {
    version: Version,
    plan: Plan,
    counts: Counts,
    /// The operations that were seen under it.
    by_operation: BTreeMap<Option<OperationName>, Counts>,
}

impl History {
    pub(crate) fn push(&mut self, version: Version, plan: Plan) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(Past {
            version,
            plan,
            counts: Counts::default(),
            by_operation: BTreeMap::new(),
        });
    }

    /// Policies' names may change while what they say does not.
    fn rename(&mut self, plan: &Plan) {
        if let Some(newest) = self.0.back_mut()
            && newest.plan != *plan
        {
            newest.plan = plan.clone();
        }
    }

    /// The sequence of the oldest that is remembered.
    pub(crate) fn oldest(&self) -> u64 {
        self.0.front().map_or(0, |past| past.version.sequence)
    }

    pub(crate) fn plan(&self, version: Version) -> Option<&Plan> {
        self.0
            .iter()
            .rev()
            .find(|past| past.version == version)
            .map(|past| &past.plan)
    }

    /// Adds to an entry and says which policy it is of, if that is known.
    fn add(
        &mut self,
        entry: &Entry,
        phase: Option<usize>,
        counts: Counts,
    ) -> Option<(PolicyName, Strategy)> {
        let past = self
            .0
            .iter_mut()
            .find(|past| past.version.sequence == entry.sequence)?;
        past.counts += counts;
        *past
            .by_operation
            .entry(entry.operation.clone())
            .or_default() += counts;
        let strategies = &past.plan.phases().get(phase?)?.strategies;
        let assigned = match &entry.operation {
            Some(operation) => strategies.operations.get(operation),
            None => strategies.default.as_ref(),
        }?;
        Some((assigned.policy.clone(), assigned.strategy))
    }

    /// Root decisions under the plans that name an operation.
    pub(crate) fn roots_where_named(&self, operation: &OperationName) -> u64 {
        let names = |past: &&Past| {
            let phases = past.plan.phases().iter();
            phases
                .into_iter()
                .any(|phase| phase.strategies.operations.contains_key(operation))
        };
        let roots = self.0.iter().filter(names).map(|past| past.counts.started);
        roots.fold(0, u64::saturating_add)
    }

    /// The counts under the plan that was in force at a version, and since; without a
    /// version all that is remembered.
    pub(crate) fn counts_since(
        &self,
        version: Option<Version>,
    ) -> (Counts, BTreeMap<Option<OperationName>, Counts>) {
        let from = version.map_or(0, |version| {
            self.0
                .iter()
                .rev()
                .find(|past| past.version <= version)
                .map_or(0, |past| past.version.sequence)
        });
        let (mut sum, mut by_operation) = (Counts::default(), BTreeMap::new());
        for past in self.0.iter().filter(|past| past.version.sequence >= from) {
            sum += past.counts;
            for (operation, counts) in &past.by_operation {
                *by_operation
                    .entry(operation.clone())
                    .or_insert_with(Counts::default) += *counts;
            }
        }
        (sum, by_operation)
    }
}
