//! The control plane's state, and what its owner does with it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use spoor_policy::{
    Fault, Namespace, OperationName, Outcome, PolicyKey, PolicyName, Resolution, ServiceName,
    Setting, Strategy, Table, Version,
};
use tokio::sync::{Semaphore, watch};

use crate::{
    Counts, Instance, InstanceState, ServiceFaults, Settings, fault,
    metrics::Metrics,
    pollers::Pollers,
    reported::Reporters,
    served,
    service::{Owned, Service},
    services::{Key, Services},
    tally::Tally,
};

/// The control plane. Clones share it.
///
/// Its handlers need a tokio runtime; its other methods don't, and never wait.
#[derive(Clone)]
pub struct Control(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) services: Services,
    pub(crate) pollers: Pollers,
    pub(crate) reporters: Reporters,
    pub(crate) metrics: Metrics,
    /// None before the first publication.
    pub(crate) published: ArcSwapOption<Published>,
    /// The last sequence; held while one is given out and served.
    sequence: Mutex<u64>,
    faults: Mutex<BTreeMap<Key, Vec<Fault>>>,
    pub(crate) tallies: Mutex<HashMap<TallyKey, Tally>>,
    /// The same by the word of unmodified SDKs.
    pub(crate) reported: Mutex<HashMap<TallyKey, Tally>>,
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) seats: Arc<Semaphore>,
    pub(crate) generations: AtomicU64,
    share_numbers: AtomicU64,
    /// Processes whose stream has ended, the first to go first.
    pub(crate) departed: Mutex<VecDeque<Departed>>,
}

/// A process whose stream has ended.
pub(crate) struct Departed {
    pub(crate) service: Key,
    pub(crate) instance: Arc<str>,
    pub(crate) start: Arc<str>,
    pub(crate) generation: u64,
}

/// Counts belong to a policy as long as it says the same.
pub(crate) type TallyKey = (Namespace, PolicyName, Strategy);

/// A table in force.
pub(crate) struct Published {
    pub(crate) version: Version,
    pub(crate) at: Instant,
    pub(crate) table: Table,
    pub(crate) tail: TailPlaces,
    /// Where policies decide the head.
    heads: HeadPlaces,
}

/// The services, and operations of them, that policies decide the tail of and name.
pub(crate) type TailPlaces = BTreeMap<PolicyKey, BTreeMap<ServiceName, BTreeSet<OperationName>>>;

/// The services and operations that policies decide the head of; none: all others.
type HeadPlaces = BTreeMap<PolicyKey, BTreeSet<(Option<ServiceName>, Option<OperationName>)>>;

impl Control {
    /// A control plane that serves nothing yet: its doors make clients wait, or keep what they
    /// have, until the first [`Control::publish`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner {
            services: Services::new(settings.max_services),
            pollers: Pollers::new(settings.max_polling, settings.max_polling_interval),
            reporters: Reporters::new(settings.max_clients, settings.reporting_for),
            metrics: Metrics::default(),
            published: ArcSwapOption::empty(),
            sequence: Mutex::new(0),
            faults: Mutex::default(),
            tallies: Mutex::default(),
            reported: Mutex::default(),
            changed: watch::Sender::new(0),
            seats: Arc::new(Semaphore::new(
                settings.max_clients.min(Semaphore::MAX_PERMITS),
            )),
            generations: AtomicU64::new(0),
            share_numbers: AtomicU64::new(1),
            departed: Mutex::default(),
            settings,
        }))
    }

    /// Puts a table in force, and pushes their plan to the services for which it changed.
    pub fn publish(&self, resolution: Resolution) -> Version {
        let inner = &*self.0;
        let mut sequence = inner.sequence.lock();
        *sequence += 1;
        let published = Arc::new(Published {
            version: inner.version(*sequence),
            at: Instant::now(),
            tail: tail_places(&resolution.outcomes),
            heads: head_places(&resolution.outcomes),
            table: resolution.table,
        });
        // Before the services are listed: one that enters later finds the new table.
        let before = inner.published.swap(Some(published.clone()));
        for service in inner.services.all() {
            inner.serve(&service, &published, published.version, published.at);
        }
        drop(sequence);
        inner.metrics.publications.inc();
        inner.forget_tallies(&published, before.as_deref());
        inner.tick();
        published.version
    }

    /// The newest version; its sequence is 0 before the first publication.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version(*self.0.sequence.lock())
    }

    /// Sets all faults of a service, which may be known or not, and pushes them.
    pub fn set_faults(&self, namespace: &Namespace, service: &ServiceName, faults: Vec<Fault>) {
        let key = (namespace.clone(), service.clone());
        let mut known = self.0.faults.lock();
        if faults.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key.clone(), faults);
        }
        drop(known);
        // Who enters from here on finds them; and whoever came last is right.
        if let Some(service) = self.0.services.get(&key) {
            let known = self.0.faults.lock();
            let faults = known.get(&key).map_or(&[][..], Vec::as_slice);
            service.set_faults(fault::encode(faults));
        }
    }

    /// All faults of all services.
    #[must_use]
    pub fn faults(&self) -> Vec<ServiceFaults> {
        let known = self.0.faults.lock();
        known
            .iter()
            .map(|((namespace, service), faults)| ServiceFaults {
                namespace: namespace.clone(),
                service: service.clone(),
                faults: faults.clone(),
            })
            .collect()
    }

    /// Sets who should be there, all of them.
    pub fn expect(&self, instances: Vec<Instance>) {
        let mut expected: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for Instance {
            namespace,
            service,
            id,
        } in instances
        {
            expected.entry((namespace, service)).or_default().push(id);
        }
        for service in self.0.services.all() {
            let key = (service.namespace.clone(), service.name.clone());
            let ids = expected.remove(&key).unwrap_or_default();
            service.state().expected = ids.into_iter().collect();
        }
        for (key, ids) in expected {
            match self.0.enter(&key) {
                Some(service) => service.state().expected = ids.into_iter().collect(),
                None => tracing::error!(
                    service = %key.1,
                    "no room for an expected service: raise max_services"
                ),
            }
        }
        self.0.tick();
    }

    /// Every instance that is expected or connected.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceState> {
        let now = Instant::now();
        let services = self.0.services.all();
        services
            .iter()
            .flat_map(|service| service.instances(self.0.settings.silent_after, now))
            .collect()
    }

    /// The services of a namespace that have an instance: one that is expected, connected or
    /// polls.
    #[must_use]
    pub fn known_services(&self, namespace: &Namespace) -> BTreeSet<ServiceName> {
        let entered = self.0.services.all().into_iter();
        let with_instances = entered.filter(|service| {
            service.namespace == *namespace && service.state().relevant().next().is_some()
        });
        let polled = self.0.pollers.services(namespace, Instant::now());
        let names = with_instances.map(|service| service.name.clone());
        names.chain(polled).collect()
    }

    /// A service's root decisions under what was in force at a version, and since; without a
    /// version, under the last 32 plans that it had.
    #[must_use]
    pub fn counts(
        &self,
        namespace: &Namespace,
        service: &ServiceName,
        since: Option<Version>,
    ) -> Counts {
        self.counts_by_operation(namespace, service, since).0
    }

    /// The same, also for each operation that the plans name; none: the others.
    #[must_use]
    pub fn counts_by_operation(
        &self,
        namespace: &Namespace,
        service: &ServiceName,
        since: Option<Version>,
    ) -> (Counts, BTreeMap<Option<OperationName>, Counts>) {
        let key = (namespace.clone(), service.clone());
        match self.0.services.get(&key) {
            Some(service) => service.state().history.counts_since(since),
            None => Default::default(),
        }
    }

    /// Ticks when acknowledgements, counts or instances change.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Registers the metrics, under `spoor_control_`.
    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }
}

impl Inner {
    fn version(&self, sequence: u64) -> Version {
        Version {
            epoch: self.settings.epoch,
            sequence,
        }
    }

    pub(crate) fn tick(&self) {
        self.changed
            .send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }

    /// The service, which is made with the table and the faults of this moment if it is new.
    pub(crate) fn enter(&self, key: &Key) -> Option<Arc<Service>> {
        self.services.enter(key, || {
            let (namespace, name) = key.clone();
            let faults = match self.faults.lock().get(key) {
                Some(faults) => fault::encode(faults),
                None => fault::encode(&[]),
            };
            let service = Service::new(namespace, name, faults);
            if let Some(published) = self.published.load_full() {
                self.serve(&service, &published, published.version, published.at);
            }
            service
        })
    }

    fn serve(&self, service: &Service, published: &Published, version: Version, at: Instant) {
        let plan = published
            .table
            .plan(service.namespace.as_str(), service.name.as_str());
        service.publish(plan, version, at, self.sharers(service));
    }

    /// Among how many instances a service's rate limit is to be shared out, at least one.
    pub(crate) fn sharers(&self, service: &Service) -> usize {
        let key = (service.namespace.clone(), service.name.clone());
        let live = service.state().live;
        (live + self.pollers.count(&key, Instant::now())).max(1)
    }

    /// Serves a service's rate limit in as many shares as there are instances by now.
    pub(crate) fn share_anew(&self, service: &Service) {
        let mut sequence = self.sequence.lock();
        let Some(published) = self.published.load_full() else {
            return;
        };
        let plan = published
            .table
            .plan(service.namespace.as_str(), service.name.as_str());
        let next = *sequence + 1;
        if service.publish(
            plan,
            self.version(next),
            Instant::now(),
            self.sharers(service),
        ) {
            *sequence = next;
        }
    }

    /// A policy that says something else keeps its counts while they are recent. One that decides
    /// elsewhere begins anew: what was counted where it no longer decides says nothing about it.
    fn forget_tallies(&self, published: &Published, before: Option<&Published>) {
        let (now, time) = (Instant::now(), Timestamp::now());
        for tallies in [&self.tallies, &self.reported] {
            tallies.lock().retain(|key, tally| {
                let (namespace, name, strategy) = key;
                let policy = PolicyKey {
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                let had = before.and_then(|before| before.heads.get(&policy));
                let has = published.heads.get(&policy);
                let moved = had.is_some() && had != has;
                let is_in_force =
                    || in_force(&published.table, namespace, name, time) == Some(*strategy);
                !moved && (!tally.is_over(now) || is_in_force())
            });
        }
    }
}

impl Published {
    /// True if the policy that decided these counts of a service still does.
    pub(crate) fn decides(&self, service: &Service, owned: &Owned) -> bool {
        let plan = self
            .table
            .plan(service.namespace.as_str(), service.name.as_str());
        let Some(strategies) = plan.at(Timestamp::now()) else {
            return false;
        };
        let operation = owned.operation.as_ref();
        let assigned = operation
            .and_then(|operation| strategies.operations.get(operation))
            .or(strategies.default.as_ref());
        assigned.is_some_and(|it| (&it.policy, it.strategy) == (&owned.policy, owned.strategy))
    }
}

fn head_places(outcomes: &BTreeMap<PolicyKey, Outcome>) -> HeadPlaces {
    let places = outcomes.iter().map(|(policy, outcome)| {
        let heads = outcome
            .effective
            .iter()
            .filter(|place| matches!(place.setting, Setting::Head(_)));
        let places = heads.map(|place| (place.service.clone(), place.operation.clone()));
        (policy.clone(), places.collect::<BTreeSet<_>>())
    });
    places.filter(|(_, places)| !places.is_empty()).collect()
}

fn tail_places(outcomes: &BTreeMap<PolicyKey, Outcome>) -> TailPlaces {
    let mut places = TailPlaces::new();
    for (policy, outcome) in outcomes {
        for place in &outcome.effective {
            if let (Setting::Tail { .. }, Some(service)) = (&place.setting, &place.service) {
                let services = places.entry(policy.clone()).or_default();
                let operations = services.entry(service.clone()).or_default();
                operations.extend(place.operation.clone());
            }
        }
    }
    places
}

/// The strategy of a policy, if it decides anywhere.
fn in_force(
    table: &Table,
    namespace: &Namespace,
    policy: &PolicyName,
    now: Timestamp,
) -> Option<Strategy> {
    let named = table
        .services()
        .filter(|(of, _, _)| *of == namespace)
        .map(|(_, _, plan)| plan);
    named
        .chain([table.plan(namespace.as_str(), "")])
        .filter_map(|plan| plan.at(now))
        .flat_map(served::assigned)
        .find(|assigned| assigned.policy == *policy)
        .map(|assigned| assigned.strategy)
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// A number that no shares had before. Zero stands for those of the plan.
    pub(crate) fn next_share_number(&self) -> u64 {
        self.0.share_numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A number that no stream had before.
    pub(crate) fn next_generation(&self) -> u64 {
        self.0.generations.fetch_add(1, Ordering::Relaxed)
    }
}
