//! Sends batches of kept spans to the receiver.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use spoor_runtime::{Backoff, LogLimit};
use spoor_telemetry::export::{Export, ExportResponse, Failure};
use spoor_traces::{Batch, Forwarder};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The most requests in progress. More would not send faster to one receiver, and each may be sent
/// twice if the sampler is killed.
const MAX_REQUESTS: usize = 4;
/// The deadline of one attempt. The exporter has its own for the beginning of the response.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(30);
/// The first delay between attempts.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Much shorter than a rollout, so that spans are sent soon after the receiver has restarted.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3);
/// The longest delay that a receiver may request. Spans wait meanwhile, and once the sampler is
/// full, so do services.
const MAX_REQUESTED_DELAY: Duration = Duration::from_secs(60);

/// The counts of what was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendCounts {
    pub(crate) batches: Counter,
    pub(crate) bytes: Counter,
    pub(crate) spans: Counter,
    /// Spans that the receiver will never accept.
    pub(crate) refused: Counter,
    /// Attempts that failed and are repeated.
    pub(crate) failures: Counter,
    pub(crate) in_flight: Gauge,
}

/// Sends a forwarder's batches until it has no more. Clones share the state.
#[derive(Clone)]
pub(crate) struct Sender {
    forwarder: Forwarder,
    exporter: Arc<dyn Export>,
    counts: SendCounts,
    /// True while attempts fail. Only changes are logged.
    is_failing: Arc<AtomicBool>,
    /// Held for an attempt and the delay after it while attempts fail, so that one batch at a time
    /// is repeated. The receiver may pass spans on before it fails: a Collector that cannot send to
    /// Jaeger exports them to its additional exporters again with each attempt.
    turn: Arc<Mutex<()>>,
    refusals: Arc<LogLimit>,
}

impl Sender {
    pub(crate) fn new(forwarder: Forwarder, exporter: Arc<dyn Export>, counts: SendCounts) -> Self {
        Self {
            forwarder,
            exporter,
            counts,
            is_failing: Arc::default(),
            turn: Arc::default(),
            refusals: Arc::default(),
        }
    }

    /// A sender of another forwarder's batches to the same receiver, with the same counts.
    pub(crate) fn with(&self, forwarder: Forwarder) -> Self {
        Self {
            forwarder,
            ..self.clone()
        }
    }

    /// Sends batches until the forwarder has shut down and all are sent, or `give_up`.
    pub(crate) async fn run(self, give_up: CancellationToken) {
        // Dropping the requests in progress ends them.
        give_up.run_until_cancelled(self.send_all()).await;
    }

    async fn send_all(&self) {
        let mut requests = JoinSet::new();
        while let Some(batch) = self.forwarder.next_batch().await {
            // More batches wait in the forwarder, which is bounded and refuses spans when it is
            // full.
            while requests.len() >= MAX_REQUESTS {
                requests.join_next().await;
            }
            let sender = self.clone();
            requests.spawn(async move { sender.deliver(batch).await });
        }
        while requests.join_next().await.is_some() {}
    }

    async fn deliver(&self, batch: Batch) {
        let in_flight = InFlight::new(&self.counts.in_flight);
        match self.send_despite_panics(&batch).await {
            Ok(accepted) => self.count(&accepted, &batch),
            Err(reason) => self.count_refused(batch.spans, &reason),
        }
        drop(in_flight);
        self.forwarder.sent(&batch).await;
    }

    /// As [`Self::send_with_retries`]. A panic is a failed attempt: otherwise the batch would take
    /// room forever, and a restart would send all that came after it again.
    async fn send_despite_panics(&self, batch: &Batch) -> Result<ExportResponse, String> {
        let mut backoff = Backoff::new(MIN_RETRY_DELAY);
        loop {
            let (sender, batch) = (self.clone(), batch.clone());
            let sending = tokio::spawn(async move { sender.send_with_retries(&batch).await });
            match AbortOnDropHandle::new(sending).await {
                Ok(sent) => return sent,
                Err(panic) => self.record_failure(&panic.to_string()),
            }
            sleep(backoff.next_delay(MAX_RETRY_DELAY)).await;
        }
    }

    /// Sends a batch until the receiver accepts it. The error is the receiver's reason for refusing
    /// it for good.
    async fn send_with_retries(&self, batch: &Batch) -> Result<ExportResponse, String> {
        let request = self.exporter.prepare(batch.request.clone());
        let mut backoff = Backoff::new(MIN_RETRY_DELAY);
        loop {
            let _turn = match self.is_failing.load(Relaxed) {
                true => Some(self.turn.lock().await),
                false => None,
            };
            let sending = self.exporter.send(request.clone());
            let (after, reason) = match timeout(ATTEMPT_DEADLINE, sending).await {
                Ok(Ok(accepted)) => {
                    self.log_recovery();
                    return Ok(accepted);
                }
                Ok(Err(Failure::Refused(reason))) => return Err(reason),
                Ok(Err(Failure::Retry { after, reason })) => (after, reason),
                // OTLP forbids the retry. But a wrong endpoint or a missing permission would
                // otherwise lose every trace that is kept.
                Ok(Err(Failure::ReceiverFailed(reason))) => (None, reason),
                Err(_) => (None, "no response in time".to_owned()),
            };
            self.record_failure(&reason);
            // Not before the time that the receiver requests.
            let requested = after.unwrap_or_default().min(MAX_REQUESTED_DELAY);
            sleep(backoff.next_delay(MAX_RETRY_DELAY).max(requested)).await;
        }
    }

    fn count(&self, accepted: &ExportResponse, batch: &Batch) {
        // A receiver may claim to have rejected more than it was sent.
        let refused = accepted.rejected.min(batch.spans);
        if refused > 0 {
            self.count_refused(refused, &accepted.message);
        }
        self.counts.batches.inc();
        self.counts.bytes.inc_by(batch.request.len() as u64);
        self.counts.spans.inc_by(batch.spans - refused);
    }

    fn count_refused(&self, spans: u64, reason: &str) {
        self.counts.refused.inc_by(spans);
        if let Some(suppressed) = self.refusals.admit() {
            tracing::warn!(spans, reason, suppressed, "the receiver refused spans");
        }
    }

    fn record_failure(&self, reason: &str) {
        self.counts.failures.inc();
        if !self.is_failing.swap(true, Relaxed) {
            tracing::warn!(reason, "cannot send spans; retrying");
        }
    }

    fn log_recovery(&self) {
        if self.is_failing.swap(false, Relaxed) {
            tracing::info!("sending spans again");
        }
    }
}

/// Counts a request for as long as it is in progress, even if it is cancelled.
struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{net::SocketAddr, sync::atomic::AtomicU32};

    use axum::body::Bytes;
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use opentelemetry_sdk::trace::SpanData;
    use prost::Message;
    use spoor_runtime::{Listener, bind};
    use spoor_telemetry::export::Sending;
    use spoor_traces::ForwarderSettings;
    use tokio::time::Instant;

    use super::*;

    /// An exporter that panics in its first attempt.
    #[derive(Default)]
    struct Panicking(AtomicU32);

    impl Export for Panicking {
        fn encode(&self, _: Vec<SpanData>) -> Bytes {
            Bytes::new()
        }

        fn send(&self, _: Bytes) -> Sending<'_> {
            assert!(self.0.fetch_add(1, Relaxed) > 0, "the first attempt");
            Box::pin(async { Ok(ExportResponse::default()) })
        }
    }

    fn request() -> Vec<u8> {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            ..Span::default()
        };
        let scope_spans = ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        };
        let resource_spans = ResourceSpans {
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![resource_spans],
        }
        .encode_to_vec()
    }

    #[tokio::test]
    async fn batch_is_sent_after_a_panic() {
        let stop = CancellationToken::new();
        let forwarder = Forwarder::start(ForwarderSettings::default(), stop.clone()).unwrap();
        let sockets = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").unwrap();
        let url = format!("http://{}/v1/traces", sockets.local_addr().unwrap());
        let listener = Listener::new(sockets, forwarder.otlp_http());
        let _serving = tokio::spawn(listener.serve(Duration::ZERO, stop.clone()));
        let post = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/x-protobuf");
        let response = post.body(request()).send().await.unwrap();
        assert_eq!(response.status(), 200);

        let counts = SendCounts::default();
        let exporter = Arc::new(Panicking::default());
        let sender = Sender::new(forwarder.clone(), exporter, counts.clone());
        let sending = tokio::spawn(sender.run(CancellationToken::new()));
        let deadline = Instant::now() + Duration::from_secs(30);
        while counts.spans.get() == 0 || forwarder.backlog().bytes > 0 {
            assert!(Instant::now() < deadline, "{:?}", forwarder.backlog());
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((counts.spans.get(), counts.failures.get()), (1, 1));
        stop.cancel();
        sending.await.unwrap();
    }
}
