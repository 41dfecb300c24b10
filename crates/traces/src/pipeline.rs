//! The path of a span from a request, through the tail sampler, to the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use spoor_policy::{Namespace, ServiceName, TailTable};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    OutOfMemory, PipelineSettings, ReceiveSettings, Rejected, ScanError, Totals, TraceStore,
    memory::{Memory, Reservation},
    request_counts::RequestCounts,
    scan,
    store::Writer,
    tail::TailSampler,
    turns::Turns,
};

/// Accepts spans, decides on whole traces, and stores those that are kept. Cheap to clone.
#[derive(Clone, derive_more::Debug)]
#[debug("Pipeline({:?})", self.totals())]
pub struct Pipeline {
    shared: Arc<Shared>,
}

struct Shared {
    settings: PipelineSettings,
    store: TraceStore,
    sampler: Mutex<TailSampler>,
    memory: Memory,
    small_bodies: Semaphore,
    large_bodies: Turns,
    requests: RequestCounts,
    closed: AtomicBool,
}

/// The most large bodies that are read at the same time, each on a blocking thread: as many as the
/// process has asynchronous worker threads, which serve all its listeners. The operating system
/// schedules threads fairly, so the workers still get half of the processor time.
pub(crate) const MAX_CONCURRENT_LARGE_BODIES: usize = 2;

/// The most services that are listed, over all namespaces. Senders choose their names.
const MAX_SERVICES: usize = 10_000;

/// The most decisions on due traces that the decision task makes before it releases the locks.
const MAX_DECISIONS_PER_LOCK: usize = 256;

/// The longest time spent on early decisions to make room for one request, during which they block
/// an asynchronous worker thread. Deciding on all traces of a segment usually takes less.
const MAX_EARLY_DECISION_TIME: Duration = Duration::from_millis(100);

impl Pipeline {
    /// Starts the pipeline and its decision task. When the token is cancelled, the task decides on
    /// all waiting traces, and the receivers accept no more requests.
    #[must_use]
    pub fn start(settings: PipelineSettings, shutdown: CancellationToken) -> Self {
        let store = TraceStore::new(settings.store_bytes);
        let sampler = TailSampler::new(settings.tail.clone(), store.hasher.clone());
        let shared = Shared {
            store,
            sampler: Mutex::new(sampler),
            memory: Memory::new(settings.receive.max_receiving_bytes),
            small_bodies: Semaphore::new(1),
            large_bodies: Turns::new(MAX_CONCURRENT_LARGE_BODIES),
            requests: RequestCounts::default(),
            closed: AtomicBool::new(false),
            settings,
        };
        let pipeline = Self {
            shared: Arc::new(shared),
        };
        tokio::spawn(pipeline.clone().run_decisions(shutdown));
        pipeline
    }

    /// Puts tail rules in force for all later decisions, including those on traces that are already
    /// waiting.
    pub fn set_tail(&self, table: TailTable) {
        self.shared.sampler.lock().set_table(table);
    }

    /// Accepts an encoded `ExportTraceServiceRequest`.
    ///
    /// # Errors
    /// [`ScanError`] if it cannot be decoded, if the index of its spans does not fit in
    /// [`ReceiveSettings::max_receiving_bytes`], or if the traces that wait for their decision
    /// leave no room for it; then none of its spans is accepted.
    pub fn accept(&self, request: &[u8]) -> Result<Rejected, ScanError> {
        self.accept_within(request, &mut self.shared.memory.reservation())
    }

    /// Accepts a request for which memory is already reserved.
    pub(crate) fn accept_within(
        &self,
        request: &[u8],
        reservation: &mut Reservation,
    ) -> Result<Rejected, ScanError> {
        // The scan takes longest and shares nothing, so it comes before the lock.
        let scanned = scan::scan(request, reservation)?;
        let mut sampler = self.shared.sampler.lock();
        // Lock order: the sampler, then the store. Queries lock the store alone. Room is made
        // first, in steps between which others get the locks.
        let deadline = Instant::now() + MAX_EARLY_DECISION_TIME;
        while sampler.decide_early(request.len(), &mut self.shared.store.write()) {
            // The decision task makes the room instead, with pauses for others.
            if Instant::now() > deadline || sampler.is_refusing() {
                sampler.record_refusal(request.len());
                return Err(OutOfMemory::TooManyWaiting.into());
            }
            MutexGuard::bump(&mut sampler);
        }
        sampler.accept(&scanned, Instant::now(), &mut self.shared.store.write());
        Ok(scanned.rejected)
    }

    /// The store of the traces that were kept.
    #[must_use]
    pub fn store(&self) -> &TraceStore {
        &self.shared.store
    }

    /// The decision wait, from the first span of a trace.
    #[must_use]
    pub fn decision_wait(&self) -> Duration {
        self.shared.settings.tail.decision_wait
    }

    /// The services of each of these namespaces that have spans in the store, or in traces that
    /// wait for their decision or were decided recently, as many as are found before the deadline,
    /// and at most 10,000 in all. The names of all services are read once, whatever the number of
    /// namespaces.
    #[must_use]
    pub fn services_in(
        &self,
        deadline: Instant,
        namespaces: &BTreeSet<Namespace>,
    ) -> BTreeMap<Namespace, BTreeSet<ServiceName>> {
        // One lock after the other, and no lock while the snapshots are read.
        let waiting = self.shared.sampler.lock().snapshot();
        let kept = self.shared.store.snapshot();
        let segments = waiting.newest_first().chain(kept.newest_first());
        let mut services: BTreeMap<Namespace, BTreeSet<ServiceName>> = namespaces
            .iter()
            .map(|namespace| (namespace.clone(), BTreeSet::new()))
            .collect();
        let mut left = MAX_SERVICES;
        for (_, segment) in segments.take_while(|_| Instant::now() < deadline) {
            // Not all sources, since a resource may have thousands of scopes.
            let all = segment.resources.iter();
            for (namespace, name) in all.filter_map(|resource| segment.service_of(resource)) {
                if let Some(here) = services.get_mut(namespace)
                    && left > 0
                    && let Ok(name) = ServiceName::new(name)
                    && here.insert(name)
                {
                    left -= 1;
                }
            }
        }
        services
    }

    /// The outcomes of all spans so far, as a consistent snapshot.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.sampler.lock().totals()
    }

    /// Decides on all waiting traces immediately.
    pub async fn drain(&self) {
        self.decide_while(|sampler, store| sampler.decide_waiting(store))
            .await;
    }

    pub(crate) fn receive_settings(&self) -> &ReceiveSettings {
        &self.shared.settings.receive
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    /// The turns of small bodies, each read on the asynchronous worker thread of its request. Only
    /// one at a time: the other threads serve the other listeners, whose requests would otherwise
    /// wait behind thousands of bodies, and a thread may have to wait for the sampler's lock.
    pub(crate) fn small_bodies(&self) -> &Semaphore {
        &self.shared.small_bodies
    }

    /// The turns of bodies that are too large for an asynchronous worker thread.
    pub(crate) fn large_bodies(&self) -> &Turns {
        &self.shared.large_bodies
    }

    pub(crate) fn request_counts(&self) -> &RequestCounts {
        &self.shared.requests
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    async fn run_decisions(self, shutdown: CancellationToken) {
        let wait = self.shared.settings.tail.decision_wait;
        // A tenth of the wait, since decisions are late by up to this much. The bounds prevent a
        // busy loop with a short wait and bursts of decisions with a long one.
        let period = (wait / 10).clamp(Duration::from_millis(5), Duration::from_millis(100));
        let mut ticks = tokio::time::interval(period);
        // The next tick decides on all due traces, so missed ticks need not be made up for.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
            }
            self.decide_while(|sampler, store| {
                sampler.decide_due(Instant::now(), MAX_DECISIONS_PER_LOCK, store)
                    || sampler.decide_for_refused(store)
            })
            .await;
        }
        // Closes first: otherwise traces could arrive as fast as they are decided.
        self.shared.closed.store(true, Ordering::Relaxed);
        self.drain().await;
    }

    /// Decides in rounds, between which receivers get the lock, until `decide_some` returns false.
    ///
    /// On a blocking thread: an asynchronous worker thread would handle all requests that are ready
    /// after each round, so a flood of refused requests would delay the decisions that make room.
    async fn decide_while(
        &self,
        decide_some: impl Fn(&mut TailSampler, &mut Writer<'_>) -> bool + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let decided = tokio::task::spawn_blocking(move || {
            loop {
                let mut sampler = shared.sampler.lock();
                let has_more = decide_some(&mut sampler, &mut shared.store.write());
                MutexGuard::unlock_fair(sampler);
                if !has_more {
                    break;
                }
            }
        });
        if let Err(error) = decided.await {
            tracing::error!(%error, "cannot decide on traces");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    use spoor_policy::{Policy, PolicyFields, PolicyKey, PolicyName, TailPolicy, Target, resolve};

    use super::*;
    use crate::TailSettings;

    /// A request with one span, which belongs to the trace with this ID.
    fn request(trace: usize) -> Vec<u8> {
        let spans = r#"{"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "service-a"}}
            ]},
            "scopeSpans": [{"spans": [{"traceId": "TRACE", "spanId": "0000000000000001"}]}]
        }]}"#
            .replace("TRACE", &format!("{trace:032x}"));
        let resource_spans = crate::read_spans(spans.as_bytes()).unwrap();
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    /// A table with one policy.
    fn table() -> TailTable {
        let now = jiff::Timestamp::now();
        let policy = Policy::new(PolicyFields {
            key: PolicyKey {
                namespace: Namespace::new("default").unwrap(),
                name: PolicyName::new("tail").unwrap(),
            },
            priority: 0,
            created: now,
            targets: vec![Target {
                service: ServiceName::new("service-a").unwrap(),
                operations: Vec::new(),
            }],
            head: None,
            tail: Some(TailPolicy::new(Vec::new(), "100%".parse().unwrap()).unwrap()),
            expires_at: None,
        });
        resolve(&[policy.unwrap()], now).tail
    }

    #[tokio::test]
    async fn request_is_refused_until_there_is_room() {
        let tail = TailSettings {
            decision_wait: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            ..TailSettings::default()
        };
        let settings = PipelineSettings {
            tail,
            ..PipelineSettings::default()
        };
        let pipeline = Pipeline::start(settings, CancellationToken::new());
        pipeline.set_tail(table());
        // A request of another sender was refused, so requests do not cause early decisions.
        pipeline.shared.sampler.lock().record_refusal(0);
        let accept = |number| pipeline.accept(&request(number));
        let error = (1..).find_map(|number| accept(number).err()).unwrap();
        let expected = ScanError::OutOfMemory(OutOfMemory::TooManyWaiting);
        assert_eq!(error, expected);
        assert_eq!(pipeline.totals().traces_decided_early, 0);
        // The decision task makes room.
        let deadline = Instant::now() + Duration::from_secs(30);
        while accept(usize::MAX).is_err() {
            assert!(Instant::now() < deadline, "{pipeline:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(pipeline.totals().traces_decided_early > 0);
    }

    #[tokio::test]
    async fn store_evicts_while_a_trace_is_kept() {
        let tail = TailSettings {
            decision_wait: Duration::from_secs(3600),
            // Each segment has a 64th of it.
            max_bytes: 16 << 20,
            ..TailSettings::default()
        };
        let settings = PipelineSettings {
            store_bytes: 256 << 10,
            tail,
            ..PipelineSettings::default()
        };
        let pipeline = Pipeline::start(settings, CancellationToken::new());
        pipeline.set_tail(table());
        let request = request(1);
        for _ in 0..20_000 {
            pipeline.accept(&request).unwrap();
        }
        assert_eq!(pipeline.totals().gathering, 20_000);
        pipeline.drain().await;
        let totals = pipeline.totals();
        assert!(totals.kept > 0 && totals.late > 0, "{totals:?}");
        assert_eq!(totals.kept + totals.late, 20_000);
    }

    #[tokio::test]
    async fn services_are_listed_until_the_deadline() {
        let pipeline = Pipeline::start(PipelineSettings::default(), CancellationToken::new());
        pipeline.accept(&request(1)).unwrap();
        let namespace = Namespace::new("default").unwrap();
        let namespaces = BTreeSet::from([namespace.clone()]);
        let now = Instant::now();
        assert!(pipeline.services_in(now, &namespaces)[&namespace].is_empty());
        let later = now + Duration::from_secs(3600);
        let named = BTreeSet::from([ServiceName::new("service-a").unwrap()]);
        assert_eq!(pipeline.services_in(later, &namespaces)[&namespace], named);
    }
}
