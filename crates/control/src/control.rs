//! The control plane's state and its public operations.

pub(crate) mod convergence;
mod disconnected;
pub(crate) mod evidence;
mod lending;
mod polling;
mod rate_limits;
mod samplers;
mod sdk_counts;
mod tail_metrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use spoor_policy::{Fault, Namespace, Resolution, ServiceName, Version};
use spoor_runtime::StreamSlots;
use tokio::sync::{Semaphore, watch};

use self::disconnected::{DisconnectedInstances, InstanceKey};
use crate::{
    counts::{AttributedCounts, Counts},
    fault::{self, ServiceFaults},
    history::MAX_PLAN_BYTES,
    instance::{Instance, InstanceState, ServiceKey},
    metrics::{Endpoint, Metrics},
    pollers::Pollers,
    processes::Processes,
    publication::Publication,
    reporters::Reporters,
    samplers::Samplers,
    service::Service,
    services::Services,
    settings::ControlSettings,
    tallies::Tallies,
};

/// The most counts held for all processes together. Each takes about 150 bytes. 2,000 processes that
/// count 50 operations under two plans hold two thirds of them; the last third is reserved for
/// processes with few counts.
const MAX_COUNTS: usize = 300_000;

/// The largest total size of partially received messages, over all streams, in KiB. The first 4 KiB
/// of each are not counted.
const MAX_PARTIAL_KIB: usize = 32 << 10;

/// The control plane. Clones share its state.
///
/// Its endpoints and its asynchronous methods need a Tokio runtime. Its other methods do not, and
/// never wait for I/O.
#[derive(Clone, derive_more::Debug)]
#[debug("Control({:?})", _0.settings)]
pub struct Control(Arc<Inner>);

struct Inner {
    settings: ControlSettings,
    services: Services,
    pollers: Pollers,
    reporters: Reporters,
    samplers: Samplers,
    metrics: Metrics,
    /// `None` before the first publication.
    published: ArcSwapOption<Publication>,
    /// The last sequence. Locked until its plans are served, so that services receive versions in
    /// order.
    sequence: Mutex<u64>,
    faults: Mutex<BTreeMap<ServiceKey, Vec<Fault>>>,
    tallies: Tallies,
    changes: watch::Sender<u64>,
    stream_slots: StreamSlots<Option<SocketAddr>>,
    /// The room for the counts of all processes.
    count_room: Arc<Semaphore>,
    /// The room for the remembered plans of all services, in bytes.
    plan_room: Arc<Semaphore>,
    /// The room for partially received messages, in KiB.
    partial_room: Arc<Semaphore>,
    /// The turn for work on blocking threads.
    blocking_turn: Arc<Semaphore>,
    next_generation: AtomicU64,
    next_share_number: AtomicU64,
    /// The instances with processes whose streams have ended.
    disconnected: Mutex<DisconnectedInstances>,
}

impl Control {
    /// Creates a control plane that serves no strategy until the first [`Control::publish`].
    #[must_use]
    pub fn new(settings: ControlSettings) -> Self {
        Self(Arc::new(Inner {
            services: Services::new(settings.max_services),
            pollers: Pollers::new(settings.max_polling, settings.max_polling_interval),
            reporters: Reporters::new(settings.max_clients, settings.reporting_for),
            samplers: Samplers::new(settings.max_clients),
            metrics: Metrics::default(),
            published: ArcSwapOption::empty(),
            sequence: Mutex::new(0),
            faults: Mutex::default(),
            tallies: Tallies::new(settings.window),
            changes: watch::Sender::new(0),
            // Clients need one stream each, and open another when it ends: with an excess of 1, they
            // would keep displacing each other.
            stream_slots: StreamSlots::new(settings.max_streams, 2),
            count_room: Arc::new(Semaphore::new(MAX_COUNTS)),
            plan_room: Arc::new(Semaphore::new(MAX_PLAN_BYTES)),
            partial_room: Arc::new(Semaphore::new(MAX_PARTIAL_KIB)),
            blocking_turn: Arc::new(Semaphore::new(1)),
            next_generation: AtomicU64::new(0),
            // In reports, 0 means the shares of the plan.
            next_share_number: AtomicU64::new(1),
            disconnected: Mutex::default(),
            settings,
        }))
    }

    /// Puts a table in force. Pushes plans to the services whose plan changed, and tail rules to the
    /// samplers of the namespaces whose rules changed.
    pub fn publish(&self, resolution: Resolution) -> Version {
        let inner = &*self.0;
        let mut sequence = inner.sequence.lock();
        *sequence += 1;
        let published = Arc::new(Publication::new(resolution, inner.version(*sequence)));
        // Stored before the services are listed: a service added in the meantime starts with it.
        let before = inner.published.swap(Some(published.clone()));
        for service in inner.services.all() {
            inner.serve(&service, &published, published.version, published.at);
        }
        for samplers in inner.samplers.all() {
            samplers.publish(&published);
        }
        drop(sequence);
        inner.metrics.publications.inc();
        // After the new table is stored, so that counts of the old one that arrived in the meantime
        // are forgotten too.
        inner.tallies.remove_outdated(&published, before.as_deref());
        self.notify_change();
        published.version
    }

    /// The newest version. Its sequence is 0 before the first publication.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version(*self.0.sequence.lock())
    }

    /// Replaces all faults of a service and pushes them. The service need not be known.
    pub fn set_faults(&self, namespace: &Namespace, service: &ServiceName, faults: Vec<Fault>) {
        let key = (namespace.clone(), service.clone());
        let mut known = self.0.faults.lock();
        if faults.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key.clone(), faults);
        }
        // Released, since the list of services, locked next, precedes the faults in the lock order.
        drop(known);
        if let Some(service) = self.0.services.get(&key) {
            // Read again: of two concurrent calls, the faults stored last must be sent last.
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

    /// Replaces the set of expected instances.
    pub fn set_expected(&self, instances: Vec<Instance>) {
        let mut expected: BTreeMap<ServiceKey, BTreeSet<String>> = BTreeMap::new();
        for instance in instances {
            let key = (instance.namespace, instance.service);
            expected.entry(key).or_default().insert(instance.id);
        }
        for service in self.0.services.all() {
            service.state().expected = expected.remove(&service.key).unwrap_or_default();
        }
        for (key, ids) in expected {
            match self.service_or_insert(&key) {
                Some(service) => service.state().expected = ids,
                None => tracing::error!(
                    service = %key.1,
                    "too many services; the instances of this one are not tracked"
                ),
            }
        }
        self.notify_change();
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

    /// The spans that processes have dropped, by reason. Includes those of processes that have
    /// disconnected, as long as their records are kept.
    #[must_use]
    pub fn spans_dropped(&self) -> BTreeMap<String, u64> {
        let mut dropped = BTreeMap::new();
        for service in self.0.services.all() {
            let state = service.state();
            let processes = state.instances.values();
            for (reason, spans) in processes.flat_map(Processes::spans_dropped) {
                let sum: &mut u64 = dropped.entry(reason.clone()).or_default();
                *sum = sum.saturating_add(*spans);
            }
        }
        dropped
    }

    /// The services of a namespace with an instance that is expected, connected or polling.
    #[must_use]
    pub fn known_services(&self, namespace: &Namespace) -> BTreeSet<ServiceName> {
        let services = self.0.services.in_namespace(namespace).into_iter();
        let with_instances = services.filter(|(_, service)| service.state().has_instances());
        let polled = self.0.pollers.services(namespace, Instant::now());
        with_instances.map(|(name, _)| name).chain(polled).collect()
    }

    /// True if any instance of a service is expected or connected.
    #[must_use]
    pub fn has_instances(&self, namespace: &Namespace, service: &ServiceName) -> bool {
        let service = self.0.services.get(&(namespace.clone(), service.clone()));
        service.is_some_and(|it| it.state().has_instances())
    }

    /// A service's root decisions under the plan in force at a version and under all later ones;
    /// without a version, under all plans remembered, which are at most its last 32.
    #[must_use]
    pub fn counts(
        &self,
        namespace: &Namespace,
        service: &ServiceName,
        since: Option<Version>,
    ) -> Counts {
        let service = self.0.services.get(&(namespace.clone(), service.clone()));
        service.map_or_else(Counts::default, |service| {
            service.state().history.counts_since(since)
        })
    }

    /// A receiver that is notified of each publication, and when acknowledgements, counts or
    /// instances may have changed.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

/// For sessions and endpoints.
impl Control {
    pub(crate) fn settings(&self) -> &ControlSettings {
        &self.0.settings
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Notifies the receivers of [`Control::changed`].
    pub(crate) fn notify_change(&self) {
        self.0
            .changes
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Returns the service. A new one is created with the current table and faults. Returns `None`
    /// if there are too many services.
    pub(crate) fn service_or_insert(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        let inner = &*self.0;
        inner.services.get_or_insert(key, || {
            let faults = match inner.faults.lock().get(key) {
                Some(faults) => fault::encode(faults),
                // Sent even if empty: it ends faults that an earlier control plane pushed.
                None => fault::encode(&[]),
            };
            let service = Service::new(key.clone(), faults);
            if let Some(published) = inner.published.load_full() {
                inner.serve(&service, &published, published.version, published.at);
            }
            service
        })
    }

    /// Counts a stream as refused.
    pub(crate) fn count_refused_stream(&self, endpoint: Endpoint, reason: &'static str) {
        self.0.metrics.count_refused(endpoint, reason);
    }

    /// The slots for streams, fair to each connection.
    pub(crate) fn stream_slots(&self) -> &StreamSlots<Option<SocketAddr>> {
        &self.0.stream_slots
    }

    /// The room for the counts of all processes.
    pub(crate) fn count_room(&self) -> &Arc<Semaphore> {
        &self.0.count_room
    }

    /// The room for partially received messages, in KiB.
    pub(crate) fn partial_room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.partial_room)
    }

    /// A number for a stream, larger than those of all earlier streams.
    pub(crate) fn next_generation(&self) -> u64 {
        self.0.next_generation.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs work of several milliseconds on a blocking thread, one piece at a time. On a worker
    /// thread, it would delay other requests to the process.
    ///
    /// Returns `None` if the work panics, or if the runtime shuts down before it begins.
    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.0.blocking_turn).acquire_owned();
        let (turn, control) = (turn.await.ok()?, self.clone());
        let work = move || {
            // Held until the work ends, even if the request is cancelled before.
            let _turn = turn;
            work(&control)
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// Adds a client's counts to the tallies of the policies that decided them, if these still decide.
    pub(crate) fn tally(
        &self,
        service: &Service,
        attributed: &[AttributedCounts],
        (from, to): (Instant, Instant),
    ) {
        let tallies = &self.0.tallies;
        tallies.add(&service.key, attributed, &self.0.published, (from, to));
    }

    /// Keeps the records of an instance's disconnected processes in case they reconnect. If there are
    /// too many such records, removes those of the instance whose last disconnection is the oldest.
    pub(crate) fn remember_disconnected(&self, instance: InstanceKey, processes: usize) {
        let known = self.0.disconnected.lock().push(instance, processes);
        if known > self.0.settings.max_clients {
            self.forget_oldest();
        }
    }

    /// Removes the records of all disconnected processes. When one of them reconnects, its next
    /// report is only a baseline.
    pub(crate) fn forget_disconnected(&self) {
        while self.forget_oldest() {}
    }

    /// Removes the records of the instance whose last disconnection is the oldest; returns false if
    /// there is none.
    fn forget_oldest(&self) -> bool {
        let oldest = self.0.disconnected.lock().pop_first();
        if let Some((service, instance)) = &oldest
            && let Some(service) = self.0.services.get(service)
        {
            service.state().forget_disconnected(instance);
        }
        oldest.is_some()
    }
}

impl Inner {
    fn version(&self, sequence: u64) -> Version {
        Version {
            epoch: self.settings.epoch,
            sequence,
        }
    }

    /// Serves a service its plan of a publication. Returns true if the plan is new to it.
    fn serve(
        &self,
        service: &Service,
        published: &Publication,
        version: Version,
        at: Instant,
    ) -> bool {
        let plan = published.plan(&service.key);
        let sharers = self.sharers(service);
        service.publish(plan, version, at, sharers, &self.plan_room)
    }

    /// The number of clients that share a service's rate limits, at least one: connected processes
    /// and polling clients.
    fn sharers(&self, service: &Service) -> usize {
        let connected = service.state().connected;
        let polling = self.pollers.clients(&service.key, Instant::now());
        (connected + polling.total).max(1)
    }
}
