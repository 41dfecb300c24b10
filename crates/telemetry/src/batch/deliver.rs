//! Takes batches from the queue and sends each until it is exported, refused or dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use spoor_runtime::{Backoff, LogLimit};
use tokio::task::JoinSet;

use super::{DropReason, queue::Queue};
use crate::export::{Export, ExportResponse, Failure};

/// The longest delay before the first retry, unless the receiver requests a longer one.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest delay between attempts, with the same exception. It is much shorter than a rollout,
/// so that spans are exported soon after the receiver has restarted.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) queue: Arc<Queue>,
    pub(super) exporter: Arc<dyn Export>,
    /// True while attempts fail. Only changes are logged.
    pub(super) is_failing: Arc<AtomicBool>,
}

impl Delivery {
    /// Delivers batches until the queue is closed and every span is exported or dropped.
    pub(super) async fn run(self) {
        let mut exports = JoinSet::new();
        let overflow = LogLimit::new();
        let mut reported = 0;
        while let Some(batch) = self.queue.next().await {
            let dropped = self.queue.counts.dropped(DropReason::QueueFull);
            if dropped > reported && overflow.admit().is_some() {
                let spans = dropped - reported;
                tracing::warn!(
                    spans,
                    "dropped spans because the queue was full; increase OTEL_BSP_MAX_QUEUE_SIZE"
                );
                reported = dropped;
            }
            let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            // The loop continues, so that each remaining span is counted.
            if self.queue.give_up.is_cancelled() {
                self.queue.add_dropped(DropReason::ShutDown, spans);
                continue;
            }
            // Encoded once for all attempts, and while earlier batches are being sent.
            let encoded = self.exporter.encode(batch);
            // More batches wait in the queue, which is bounded and counts what it drops.
            while exports.len() >= self.queue.settings.max_exports {
                exports.join_next().await;
            }
            let delivery = self.clone();
            exports.spawn(async move { delivery.deliver_batch(encoded, spans).await });
        }
        while exports.join_next().await.is_some() {}
    }

    async fn deliver_batch(&self, batch: Bytes, spans: u64) {
        tokio::select! {
            // After the grace period, no further attempt starts, however fast the receiver
            // responds.
            biased;
            () = self.queue.give_up.cancelled() => {
                self.queue.add_dropped(DropReason::ShutDown, spans);
            }
            outcome = self.send_with_retries(batch) => match outcome {
                Ok(accepted) => self.add_accepted(accepted, spans),
                Err(Failure::Refused(reason) | Failure::ReceiverFailed(reason)) => {
                    tracing::warn!(spans, reason, "the receiver refused spans");
                    self.queue.add_dropped(DropReason::Refused, spans);
                }
                Err(Failure::Retry { reason, .. }) => {
                    tracing::warn!(spans, reason, "dropped spans after retrying");
                    self.queue.add_dropped(DropReason::ExportFailed, spans);
                }
            },
        }
    }

    fn add_accepted(&self, accepted: ExportResponse, spans: u64) {
        // A receiver may claim to have rejected more than it was sent.
        let refused = accepted.rejected.min(spans);
        if refused > 0 {
            let reason = accepted.message;
            tracing::warn!(spans = refused, reason, "the receiver refused some spans");
            self.queue.add_dropped(DropReason::Refused, refused);
        }
        self.queue.add_exported(spans - refused);
    }

    async fn send_with_retries(&self, batch: Bytes) -> Result<ExportResponse, Failure> {
        let settings = &self.queue.settings;
        let give_up_at = Instant::now() + settings.retry_budget;
        let mut backoff = Backoff::new(FIRST_RETRY_DELAY);
        loop {
            let sending = self.exporter.send(batch.clone());
            let failure = match tokio::time::timeout(settings.export_timeout, sending).await {
                Ok(Ok(accepted)) => {
                    if self.is_failing.swap(false, Relaxed) {
                        tracing::info!("resumed exporting spans");
                    }
                    return Ok(accepted);
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::temporary("no response in time"),
            };
            let Failure::Retry { after, reason } = &failure else {
                return Err(failure);
            };
            if !self.is_failing.swap(true, Relaxed) {
                tracing::warn!(reason, "cannot export spans; retrying");
            }
            // Not before the time that the receiver requests.
            let delay = backoff.next_delay(MAX_RETRY_DELAY);
            let delay = delay.max(after.unwrap_or_default());
            // A receiver may request a delay that no clock can represent.
            let is_too_late = |next: Instant| next > give_up_at;
            if Instant::now().checked_add(delay).is_none_or(is_too_late) {
                return Err(failure);
            }
            tokio::time::sleep(delay).await;
        }
    }
}
