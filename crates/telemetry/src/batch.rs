//! The export of finished spans: a bounded queue, retries, and a count of every loss.
//!
//! The SDK's own batch processor keeps its drop count private and drops a batch after about a
//! second. A receiver's rollout takes longer than that.

mod counts;
mod deliver;
mod limits;
mod queue;

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanProcessor},
};
use parking_lot::Mutex;

pub use counts::{DropReason, SpanCounts};
use deliver::Delivery;
use queue::Queue;

use crate::{export::Export, settings::BatchSettings};

/// Queues spans and exports them in batches, on a thread of its own.
#[derive(Clone, derive_more::Debug)]
#[debug("BatchProcessor({queue:?})")]
pub struct BatchProcessor {
    queue: Arc<Queue>,
    worker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl BatchProcessor {
    /// Starts the exporting thread. `exporter` is called inside that thread's Tokio runtime, which
    /// lazy connections require.
    ///
    /// # Errors
    /// The thread or runtime cannot be created, or `exporter` fails.
    pub fn start<E: From<io::Error>>(
        settings: BatchSettings,
        counts: Arc<SpanCounts>,
        exporter: impl FnOnce() -> Result<Arc<dyn Export>, E>,
    ) -> Result<Self, E> {
        // A separate runtime, so that exports continue while the service's threads are busy or
        // gone.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let exporter = {
            let _inside = runtime.enter();
            exporter()
        };
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                // A plain drop would block, which is not allowed inside another runtime.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let queue = Arc::new(Queue::new(settings, counts));
        let delivery = Delivery {
            queue: Arc::clone(&queue),
            exporter,
            is_failing: Arc::default(),
        };
        let worker = thread::Builder::new()
            .name("span-export".to_owned())
            .spawn(move || runtime.block_on(delivery.run()))?;
        Ok(Self {
            queue,
            worker: Arc::new(Mutex::new(Some(worker))),
        })
    }

    /// Exports the spans that are queued now without waiting for full batches, and returns when all
    /// are exported or dropped. Blocks the thread.
    ///
    /// # Errors
    /// [`OTelSdkError::Timeout`] if it takes longer.
    pub fn flush(&self, timeout: Duration) -> OTelSdkResult {
        let in_time = self.queue.flush(Instant::now() + timeout);
        in_time.then_some(()).ok_or(OTelSdkError::Timeout(timeout))
    }
}

impl SpanProcessor for BatchProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        // OpenTelemetry exports sampled spans only; record-only ones are for local processors.
        if span.span_context.is_sampled() {
            let bytes = limits::truncate(&mut span, self.queue.settings.max_text_chars);
            self.queue.push(span, bytes);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        const DEADLINE: Duration = Duration::from_secs(30);
        self.flush(DEADLINE)
    }

    /// Refuses new spans, exports those that are queued, and stops. Spans that are not exported
    /// within the grace period are dropped as [`DropReason::ShutDown`]. Blocks the thread.
    ///
    /// # Errors
    /// [`OTelSdkError::AlreadyShutdown`] the second time, [`OTelSdkError::Timeout`] if spans
    /// were dropped.
    fn shutdown_with_timeout(&self, grace: Duration) -> OTelSdkResult {
        let worker = self.worker.lock().take();
        let worker = worker.ok_or(OTelSdkError::AlreadyShutdown)?;
        // Closed before joining: the worker ends when the queue is closed and empty.
        let in_time = self.queue.close(Instant::now() + grace);
        if worker.join().is_err() {
            return Err(OTelSdkError::InternalFailure(
                "the exporting thread panicked".to_owned(),
            ));
        }
        in_time.then_some(()).ok_or(OTelSdkError::Timeout(grace))
    }
}
