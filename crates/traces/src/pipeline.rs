//! The path of a span from a request, through the tail sampler, to the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use parking_lot::{Mutex, MutexGuard};
use spoor_policy::{Namespace, ServiceName, TailTable, Version};
use tokio_util::sync::CancellationToken;

use crate::{
    OutOfMemory, PipelineSettings, Rejected, ScanError, TailCount, Totals, TraceStore,
    memory::Reservation,
    receiver::{AcceptError, MAX_EARLY_DECISION_TIME, Receiver, SpanSink},
    request_counts::RequestCounts,
    scan,
    store::Writer,
    tail::{TailSampler, decide_in_rounds},
};

/// Accepts spans, decides on whole traces, and stores those that are kept. Cheap to clone.
#[derive(Clone, derive_more::Debug)]
#[debug("Pipeline({:?})", self.totals())]
pub struct Pipeline {
    shared: Arc<Shared>,
    receiver: Receiver,
}

/// The tail sampler and the store.
struct Shared {
    decision_wait: Duration,
    store: TraceStore,
    sampler: Mutex<TailSampler>,
}

/// The most services that are listed, over all namespaces. Senders choose their names.
const MAX_SERVICES: usize = 10_000;

/// The most decisions on due traces that the decision task makes before it releases the locks.
const MAX_DECISIONS_PER_LOCK: usize = 256;

impl Pipeline {
    /// Starts the pipeline and its decision task. When the token is cancelled, the task decides on
    /// all waiting traces, and the receivers accept no more requests.
    #[must_use]
    pub fn start(settings: PipelineSettings, shutdown: CancellationToken) -> Self {
        let store = TraceStore::new(settings.store_bytes);
        let decision_wait = settings.tail.decision_wait;
        let sampler = TailSampler::new(settings.tail, store.hasher.clone());
        let shared = Arc::new(Shared {
            decision_wait,
            // A sampler in front of it has the same policies from the same control plane.
            sampler: Mutex::new(sampler.following_decisions()),
            store,
        });
        let pipeline = Self {
            receiver: Receiver::new(settings.receive, Arc::clone(&shared)),
            shared,
        };
        tokio::spawn(pipeline.clone().run_decisions(shutdown));
        pipeline
    }

    /// Puts tail rules in force for all later decisions, including those on traces that are already
    /// waiting.
    pub fn set_tail(&self, table: TailTable) {
        self.shared.sampler.lock().set_table(table);
    }

    /// Like [`Pipeline::set_tail`], but also counts the decisions by these rules under their
    /// version.
    pub fn set_counted_tail(&self, version: Version, table: TailTable) {
        let mut sampler = self.shared.sampler.lock();
        sampler.set_counted_table(version, table);
    }

    /// The decisions by the rules of the latest versions, for each policy.
    #[must_use]
    pub fn tail_counts(&self) -> Vec<TailCount> {
        self.shared.sampler.lock().counts()
    }

    /// Accepts an encoded `ExportTraceServiceRequest`.
    ///
    /// # Errors
    /// [`ScanError`] if it cannot be decoded, if the index of its spans does not fit in
    /// [`ReceiveSettings::max_receiving_bytes`][max], or if the traces that wait for their decision
    /// leave no room for it; then none of its spans is accepted.
    ///
    /// [max]: crate::ReceiveSettings::max_receiving_bytes
    pub fn accept(&self, request: &[u8]) -> Result<Rejected, ScanError> {
        let mut reservation = self.receiver.memory().reservation();
        self.shared.accept_within(request, &mut reservation)
    }

    /// The OTLP receiver over HTTP: `POST /v1/traces`, with responses for the other signals.
    pub fn otlp_http(&self) -> Router {
        self.receiver.otlp_http()
    }

    /// The OTLP receiver over gRPC, with responses for the other signals.
    pub fn otlp_grpc(&self) -> Router {
        self.receiver.otlp_grpc()
    }

    /// The store of the traces that were kept.
    #[must_use]
    pub fn store(&self) -> &TraceStore {
        &self.shared.store
    }

    /// The decision wait, from the first span of a trace.
    #[must_use]
    pub fn decision_wait(&self) -> Duration {
        self.shared.decision_wait
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

    pub(crate) fn request_counts(&self) -> &RequestCounts {
        self.receiver.request_counts()
    }

    async fn run_decisions(self, shutdown: CancellationToken) {
        let wait = self.shared.decision_wait;
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
        self.receiver.close();
        self.drain().await;
    }

    /// Decides in rounds, between which receivers get the lock, until `decide_some` returns false.
    async fn decide_while(
        &self,
        decide_some: impl Fn(&mut TailSampler, &mut Writer<'_>) -> bool + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        decide_in_rounds(move || {
            let mut sampler = shared.sampler.lock();
            let has_more = decide_some(&mut sampler, &mut shared.store.write());
            MutexGuard::unlock_fair(sampler);
            has_more
        })
        .await;
    }
}

impl Shared {
    /// Accepts a request for which memory is already reserved.
    fn accept_within(
        &self,
        request: &[u8],
        reservation: &mut Reservation,
    ) -> Result<Rejected, ScanError> {
        // The scan takes longest and shares nothing, so it comes before the lock.
        let scanned = scan::scan(request, reservation)?;
        let mut sampler = self.sampler.lock();
        // Lock order: the sampler, then the store. Queries lock the store alone. Room is made
        // first, in steps between which others get the locks.
        let deadline = Instant::now() + MAX_EARLY_DECISION_TIME;
        while sampler.decide_early(request.len(), &mut self.store.write()) {
            // The decision task makes the room instead, with pauses for others.
            if Instant::now() > deadline || sampler.is_refusing() {
                sampler.record_refusal(request.len());
                return Err(OutOfMemory::TooManyWaiting.into());
            }
            MutexGuard::bump(&mut sampler);
        }
        sampler.accept(&scanned, Instant::now(), &mut self.store.write());
        Ok(scanned.rejected)
    }
}

impl SpanSink for Arc<Shared> {
    fn accept(
        &self,
        request: &[u8],
        reservation: &mut Reservation,
    ) -> Result<Rejected, AcceptError> {
        Ok(self.accept_within(request, reservation)?)
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
            max_trace_duration: Duration::from_secs(3600),
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
            max_trace_duration: Duration::from_secs(3600),
            // Each segment has a 64th of it, so the spans fill a few.
            max_bytes: 4 << 20,
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
