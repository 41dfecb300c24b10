//! The path of a span from a request, through the tail sampler, to the store.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use parking_lot::{Mutex, MutexGuard};
use spoor_policy::{Namespace, ServiceName, TailTable, Version};
use tokio_util::sync::CancellationToken;

use crate::{
    PipelineSettings, Rejected, ScanError, TailCount, Totals, TraceStore,
    memory::Share,
    receiver::{AcceptError, Receiver, SpanSink},
    request_counts::RequestCounts,
    scan,
    tail::TailSampler,
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
    sampler: Mutex<TailSampler>,
    store: TraceStore,
}

/// The most services that are listed. Senders choose their names.
const MAX_SERVICES: usize = 10_000;

/// The most decisions made before the locks are released.
const MAX_DECISIONS_PER_LOCK: usize = 256;

impl Pipeline {
    /// Starts the pipeline and its decision task. When the token is cancelled, the task decides on
    /// all waiting traces, and the receivers accept no more requests.
    #[must_use]
    pub fn start(settings: PipelineSettings, shutdown: CancellationToken) -> Self {
        let store = TraceStore::new(settings.store_bytes);
        let shared = Arc::new(Shared {
            decision_wait: settings.tail.decision_wait,
            sampler: Mutex::new(TailSampler::new(settings.tail, store.hasher().clone())),
            store,
        });
        let pipeline = Self {
            receiver: Receiver::new(settings.receive, Arc::clone(&shared)),
            shared,
        };
        tokio::spawn(pipeline.clone().run_decisions(shutdown));
        pipeline
    }

    /// Puts tail rules in force for all later decisions, including those on traces that wait.
    pub fn set_tail(&self, table: TailTable) {
        self.shared.sampler.lock().set_table(table);
    }

    /// As [`Pipeline::set_tail`], and counts the decisions by these rules under their version.
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
    /// [`ScanError`] if it cannot be decoded, or if the index of its spans does not fit in
    /// [`ReceiveSettings::max_receiving_bytes`]; then none of its spans is accepted.
    pub fn accept(&self, request: &[u8]) -> Result<Rejected, ScanError> {
        self.shared
            .accept_spans(request, &mut self.receiver.memory().share())
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

    /// The services of a namespace that have spans in the store or in traces that wait for their
    /// decision.
    #[must_use]
    pub fn services_in(&self, namespace: &Namespace) -> BTreeSet<ServiceName> {
        // One lock after the other, and no lock while the snapshots are read.
        let waiting = self.shared.sampler.lock().snapshot();
        let kept = self.shared.store.snapshot();
        let spans = [waiting, kept];
        let named = spans
            .iter()
            .flat_map(|it| it.services_in(namespace.as_str()));
        let mut services = BTreeSet::new();
        for service in named.filter_map(|name| ServiceName::new(name).ok()) {
            if services.len() == MAX_SERVICES {
                break;
            }
            services.insert(service);
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
        while self.decide(|sampler, store| sampler.decide_waiting(store)) {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn request_counts(&self) -> &RequestCounts {
        self.receiver.request_counts()
    }

    async fn run_decisions(self, shutdown: CancellationToken) {
        let wait = self.shared.decision_wait;
        // Shared are late by at most a tenth of the wait. The bounds prevent a busy loop with a
        // short wait and bursts of decisions with a long one.
        let period = (wait / 10).clamp(Duration::from_millis(5), Duration::from_millis(100));
        let mut ticks = tokio::time::interval(period);
        // The next tick decides on all due traces, so missed ticks need not be made up for.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
            }
            // Decides in rounds, between which receivers get the lock.
            while self.decide(|sampler, store| {
                sampler.decide_due(Instant::now(), MAX_DECISIONS_PER_LOCK, store)
            }) {
                tokio::task::yield_now().await;
            }
        }
        // Closes first: otherwise traces could arrive as fast as they are decided.
        self.receiver.close();
        self.drain().await;
    }

    fn decide(
        &self,
        decide_some: impl FnOnce(&mut TailSampler, &mut crate::store::Writer<'_>) -> bool,
    ) -> bool {
        let mut sampler = self.shared.sampler.lock();
        decide_some(&mut sampler, &mut self.shared.store.write())
    }
}

impl Shared {
    fn accept_spans(&self, request: &[u8], share: &mut Share) -> Result<Rejected, ScanError> {
        // The scan takes longest and shares nothing, so it comes before the lock.
        let scanned = scan::scan(request, share)?;
        let mut sampler = self.sampler.lock();
        // Lock order: the sampler, then the store. Queries lock the store alone.
        let mut is_over = sampler.accept(&scanned, Instant::now(), &mut self.store.write());
        while is_over {
            MutexGuard::bump(&mut sampler);
            is_over = sampler.decide_early(&mut self.store.write());
        }
        Ok(scanned.rejected)
    }
}

impl SpanSink for Arc<Shared> {
    fn accept(&self, request: &[u8], share: &mut Share) -> Result<Rejected, AcceptError> {
        Ok(self.accept_spans(request, share)?)
    }
}
