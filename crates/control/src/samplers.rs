//! The samplers of all namespaces: their rules and rings, their state and their counts.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard, RwLock};
use spoor_policy::{Namespace, PolicyName};
use spoor_proto::spoor::sampler::v1::Rings;
use tokio::sync::watch;

use crate::{
    publication::Publication,
    sampler_record::{ReportedDecisions, SamplerRecord},
    sampler_state::SamplerState,
    stack_rings::{self, StackRings},
    tail_counts::{TailCounts, TailDecisions},
    tail_rules::{PolicyRules, RulesHistory, ServedRules},
    tail_tally::TailTally,
};

/// All namespaces that have samplers.
///
/// Bounded by the numbers of samplers, policies and stacks, since a namespace with neither samplers
/// nor counts is removed, and rings are replaced as a whole.
#[derive(Debug)]
pub(crate) struct Samplers {
    max_disconnected: usize,
    known: RwLock<BTreeMap<Namespace, Arc<NamespaceSamplers>>>,
    /// The rings of each namespace with a stack that has any, even if it has no samplers.
    rings: Mutex<BTreeMap<Namespace, StackRings>>,
    /// The samplers whose streams have ended, each once, in the order in which they ended last.
    disconnected: Mutex<VecDeque<DisconnectedSampler>>,
}

/// The samplers of one namespace, which all have the same rules.
#[derive(Debug)]
pub(crate) struct NamespaceSamplers {
    namespace: Namespace,
    outgoing: watch::Sender<SamplerOutgoing>,
    state: Mutex<SamplersState>,
}

/// The newest messages for the samplers of a namespace. Streams that lag skip older ones.
#[derive(Clone, Debug)]
pub(crate) struct SamplerOutgoing {
    /// `None` before the first publication.
    pub(crate) rules: Option<Arc<ServedRules>>,
    pub(crate) rings: StackRings,
}

/// The changing state of a namespace's samplers, under one lock.
#[derive(Debug, Default)]
pub(crate) struct SamplersState {
    pub(crate) served: Option<Arc<ServedRules>>,
    pub(crate) history: RulesHistory,
    /// The samplers by instance.
    pub(crate) records: BTreeMap<Arc<str>, SamplerRecord>,
    /// The counts of the policies that have any.
    tallies: BTreeMap<PolicyName, TailTally>,
}

/// A sampler whose stream has ended.
#[derive(Debug)]
pub(crate) struct DisconnectedSampler {
    pub(crate) namespace: Namespace,
    pub(crate) instance: Arc<str>,
    pub(crate) generation: u64,
}

impl Samplers {
    pub(crate) fn new(max_disconnected: usize) -> Self {
        Self {
            max_disconnected,
            known: RwLock::default(),
            rings: Mutex::default(),
            disconnected: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, namespace: &Namespace) -> Option<Arc<NamespaceSamplers>> {
        self.known.read().get(namespace).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<NamespaceSamplers>> {
        self.known.read().values().cloned().collect()
    }

    /// Returns the samplers of a namespace, with the rules of the current publication and the current
    /// rings if the namespace is new.
    ///
    /// `published` runs under the lock that [`Samplers::all`] takes: a publication either finds
    /// the new namespace in the list, or was stored before `published` loads it. The same holds for
    /// the rings.
    pub(crate) fn get_or_insert(
        &self,
        namespace: &Namespace,
        published: impl FnOnce() -> Option<Arc<Publication>>,
    ) -> Arc<NamespaceSamplers> {
        if let Some(samplers) = self.get(namespace) {
            return samplers;
        }
        let mut known = self.known.write();
        let samplers = known.entry(namespace.clone()).or_insert_with(|| {
            let rings = self.rings.lock().get(namespace).cloned();
            let samplers = NamespaceSamplers::new(namespace.clone(), rings.unwrap_or_default());
            if let Some(published) = published() {
                samplers.publish(&published);
            }
            Arc::new(samplers)
        });
        Arc::clone(samplers)
    }

    /// Replaces the rings of all stacks, and serves them to the samplers in each namespace.
    pub(crate) fn set_rings(&self, rings: BTreeMap<(Namespace, String), Rings>) {
        *self.rings.lock() = stack_rings::encode(rings);
        let namespaces = self.all();
        // Locked again: of two concurrent calls, the rings stored last must be sent last.
        let rings = self.rings.lock();
        for samplers in namespaces {
            let rings = rings.get(&samplers.namespace).cloned();
            samplers.set_rings(rings.unwrap_or_default());
        }
    }

    /// Keeps the record of a disconnected sampler in case it reconnects. If there are too many such
    /// records, removes the one of the sampler that disconnected first.
    pub(crate) fn remember_disconnected(&self, sampler: DisconnectedSampler) {
        let mut disconnected = self.disconnected.lock();
        // Listed once, so that a sampler that keeps reconnecting does not displace others.
        disconnected
            .retain(|it| (&it.namespace, &it.instance) != (&sampler.namespace, &sampler.instance));
        disconnected.push_back(sampler);
        let oldest = match disconnected.len() > self.max_disconnected {
            true => disconnected.pop_front(),
            false => None,
        };
        // Released, since it comes last in the lock order.
        drop(disconnected);
        if let Some(oldest) = oldest {
            self.forget(&oldest);
        }
    }

    /// Removes the record of a sampler, and its namespace if it was the last one there and nothing
    /// is counted.
    fn forget(&self, sampler: &DisconnectedSampler) {
        let Some(samplers) = self.get(&sampler.namespace) else {
            return;
        };
        samplers.state().forget(sampler);
        drop(samplers);
        self.known.write().retain(|_, samplers| {
            // Every session, and every caller of `get_or_insert`, holds a reference.
            Arc::strong_count(samplers) > 1 || !samplers.state().is_empty()
        });
    }
}

impl NamespaceSamplers {
    fn new(namespace: Namespace, rings: StackRings) -> Self {
        Self {
            namespace,
            outgoing: watch::Sender::new(SamplerOutgoing { rules: None, rings }),
            state: Mutex::default(),
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Locks the state. `lib.rs` has the lock order.
    pub(crate) fn state(&self) -> MutexGuard<'_, SamplersState> {
        self.state.lock()
    }

    /// The newest messages, for a new stream.
    pub(crate) fn subscribe(&self) -> watch::Receiver<SamplerOutgoing> {
        self.outgoing.subscribe()
    }

    /// Serves the rules of a publication, unless nothing changes in this namespace.
    pub(crate) fn publish(&self, published: &Publication) {
        let mut state = self.state();
        let digest = published.tail_table.digest(&self.namespace);
        // Equal digests mean equal rules, so nothing is sent.
        if state.served.as_ref().is_some_and(|it| it.digest == digest) {
            return;
        }
        let served = Arc::new(ServedRules::new(
            &published.tail_table,
            &self.namespace,
            published.version,
            state.served.as_deref(),
        ));
        state.serve(served.clone(), Instant::now());
        // Under the lock of the state, so that a sampler that registers at the same time finds the same
        // rules in both: it must not be regarded as current and then be sent older rules.
        self.outgoing
            .send_modify(|outgoing| outgoing.rules = Some(served));
    }

    fn set_rings(&self, rings: StackRings) {
        // Equal rings must not wake all streams of the namespace.
        self.outgoing.send_if_modified(|outgoing| {
            let is_new = outgoing.rings != rings;
            outgoing.rings = rings;
            is_new
        });
    }

    /// Every sampler that is connected or remembered, by instance.
    pub(crate) fn states(&self) -> Vec<SamplerState> {
        let state = self.state();
        let records = state.records.iter();
        records
            .map(|(instance, record)| record.state(instance, state.served.as_ref()))
            .collect()
    }
}

impl SamplersState {
    fn serve(&mut self, served: Arc<ServedRules>, now: Instant) {
        self.history.push(&served);
        let policies = &served.policies;
        self.tallies
            .retain(|policy, _| policies.contains_key(policy));
        for (policy, tally) in &mut self.tallies {
            if let Some(rules) = policies.get(policy) {
                tally.set_rules(rules, now);
            }
        }
        self.served = Some(served);
    }

    /// Adds reported decisions to the tallies of the policies that made them, if these still decide
    /// the tail anywhere.
    pub(crate) fn add(&mut self, reported: &ReportedDecisions, window: Duration) {
        let Some(served) = &self.served else {
            return;
        };
        let ReportedDecisions { deltas, from, to } = reported;
        for delta in deltas {
            let Some(rules) = served.policies.get(&delta.policy) else {
                continue;
            };
            let tally = self
                .tallies
                .entry(delta.policy.clone())
                // Starts at `from`; otherwise the first counts would be before the window.
                .or_insert_with(|| TailTally::new(rules.clone(), window, *from));
            match Arc::ptr_eq(rules, &delta.rules) {
                true => tally.add(&delta.decisions, *from, *to),
                // Reported after the change.
                false => tally.add_former(&delta.decisions),
            }
        }
    }

    /// The counts of a policy with its rules, or `None` if it decides the tail nowhere.
    pub(crate) fn counts(
        &mut self,
        policy: &PolicyName,
        window: Duration,
        now: Instant,
    ) -> Option<(Arc<PolicyRules>, TailCounts)> {
        let rules = self.served.as_ref()?.policies.get(policy)?.clone();
        let counts = match self.tallies.get_mut(policy) {
            Some(tally) => tally.counts(now),
            None => TailTally::new(rules.clone(), window, now).counts(now),
        };
        Some((rules, counts))
    }

    /// All decisions by each policy that has any.
    pub(crate) fn totals(&self) -> Vec<(PolicyName, TailDecisions)> {
        let tallies = self.tallies.iter();
        tallies
            .map(|(policy, tally)| (policy.clone(), tally.total().clone()))
            .collect()
    }

    /// True if there are neither samplers nor counts.
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.tallies.is_empty()
    }

    /// Forgets a sampler, unless it has reconnected.
    fn forget(&mut self, sampler: &DisconnectedSampler) {
        // It may have reconnected while this thread waited for the lock.
        let is_gone = self
            .records
            .get(&sampler.instance)
            .is_some_and(|it| !it.is_connected && it.generation == sampler.generation);
        if is_gone {
            self.records.remove(&sampler.instance);
        }
    }
}
