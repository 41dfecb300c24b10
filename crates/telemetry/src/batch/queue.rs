//! The queue of spans between the threads that end them and the one that exports them.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use opentelemetry_sdk::trace::SpanData;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{DropReason, SpanCounts};
use crate::settings::BatchSettings;

/// The maximum size of a batch, in bytes. A single span that is larger is exported alone. This is less
/// than gRPC's usual limit of 4 MiB for a message, since a receiver refuses a longer one as a whole.
const MAX_BATCH_BYTES: usize = 3 << 20;
/// The maximum mean size of the spans in a full queue, in bytes: 128 MiB in total by default. Most
/// spans are smaller than 1 KiB, but a client can make those of its requests much larger.
const MAX_MEAN_SPAN_BYTES: usize = 2 << 10;

/// A bounded queue with one consumer.
#[derive(derive_more::Debug)]
#[debug("waiting: {}", self.waiting.lock().spans.len())]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the consumer: there is a first span, a full batch or a flush, or the queue was closed.
    wake: Notify,
    /// Wakes the threads that flush: spans were exported or dropped.
    finished: Condvar,
    /// Cancelled after the grace period. The remaining spans are then dropped.
    pub(super) give_up: CancellationToken,
    pub(super) counts: Arc<SpanCounts>,
    pub(super) settings: BatchSettings,
}

#[derive(Default)]
struct Waiting {
    /// The spans with their sizes.
    spans: VecDeque<(SpanData, usize)>,
    /// The sum of the sizes.
    bytes: usize,
    /// The time since which the oldest span has waited: from its arrival, or from the last batch if
    /// that is later.
    since: Option<Instant>,
    /// The number of spans that were ever queued, and of those that were exported or dropped.
    queued: u64,
    finished: u64,
    /// The count of finished spans until which batches are exported before they are full.
    flush_until: u64,
    is_closed: bool,
}

/// The next step of the consumer.
pub(super) enum NextStep {
    Batch(Vec<SpanData>),
    Wait(Option<Instant>),
    Closed,
}

impl Queue {
    pub(super) fn new(settings: BatchSettings, counts: Arc<SpanCounts>) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            finished: Condvar::new(),
            give_up: CancellationToken::new(),
            counts,
            settings,
        }
    }

    pub(super) fn push(&self, span: SpanData, bytes: usize) {
        let max_len = self.settings.max_queue_size;
        let max_bytes = max_len.saturating_mul(MAX_MEAN_SPAN_BYTES);
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return self.counts.add_dropped(DropReason::ShutDown, 1);
        }
        if waiting.spans.len() >= max_len || waiting.bytes >= max_bytes {
            return self.counts.add_dropped(DropReason::QueueFull, 1);
        }
        if waiting.spans.is_empty() {
            waiting.since = Some(Instant::now());
        }
        let had_batch = waiting.has_batch(&self.settings);
        waiting.spans.push_back((span, bytes));
        waiting.bytes += bytes;
        waiting.queued += 1;
        let has_new_batch = !had_batch && waiting.has_batch(&self.settings);
        let is_first = waiting.spans.len() == 1;
        // Unlocked first, so that the consumer does not wait for the lock when it wakes.
        drop(waiting);
        // The two changes that matter to the consumer. Waking it for each span would cost more than
        // queueing one.
        if is_first || has_new_batch {
            self.wake.notify_one();
        }
    }

    /// The next batch, as soon as it is full or its oldest span has waited long enough. `None` when
    /// the queue is closed and empty.
    pub(super) async fn next(&self) -> Option<Vec<SpanData>> {
        loop {
            match self.next_step() {
                NextStep::Batch(batch) => return Some(batch),
                NextStep::Closed => return None,
                // `Notify` keeps a notification that comes before this wait, so none is lost.
                NextStep::Wait(None) => self.wake.notified().await,
                NextStep::Wait(Some(until)) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(until.into()) => {}
                    }
                }
            }
        }
    }

    fn next_step(&self) -> NextStep {
        let mut waiting = self.waiting.lock();
        let Some(since) = waiting.since.filter(|_| !waiting.spans.is_empty()) else {
            return if waiting.is_closed {
                NextStep::Closed
            } else {
                NextStep::Wait(None)
            };
        };
        let max_len = self.settings.max_export_batch_size;
        let until = since + self.settings.schedule_delay;
        let is_flushing = waiting.is_closed || waiting.flush_until > waiting.finished;
        if !waiting.has_batch(&self.settings) && !is_flushing && Instant::now() < until {
            return NextStep::Wait(Some(until));
        }
        let mut batch = Vec::with_capacity(waiting.spans.len().min(max_len));
        let mut bytes = 0;
        while batch.len() < max_len
            && let Some((span, size)) = waiting.spans.pop_front()
        {
            if !batch.is_empty() && bytes + size > MAX_BATCH_BYTES {
                waiting.spans.push_front((span, size));
                break;
            }
            bytes += size;
            batch.push(span);
        }
        waiting.bytes -= bytes;
        // The remaining spans start to wait now.
        waiting.since = Some(Instant::now());
        if waiting.spans.is_empty() {
            // Frees the memory of a burst, except what the next batches need.
            waiting.spans.shrink_to(max_len * 2);
        }
        NextStep::Batch(batch)
    }

    pub(super) fn add_exported(&self, spans: u64) {
        self.counts.add_exported(spans);
        self.add_finished(spans);
    }

    pub(super) fn add_dropped(&self, reason: DropReason, spans: u64) {
        self.counts.add_dropped(reason, spans);
        self.add_finished(spans);
    }

    fn add_finished(&self, spans: u64) {
        self.waiting.lock().finished += spans;
        self.finished.notify_all();
    }

    /// Exports the spans that are queued now. Returns whether all are exported or dropped before
    /// the deadline.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut waiting = self.waiting.lock();
        let target = waiting.queued;
        // Several threads may flush, and an earlier target must not replace a later one.
        waiting.flush_until = waiting.flush_until.max(target);
        self.wake.notify_one();
        while waiting.finished < target {
            if self.finished.wait_until(&mut waiting, deadline).timed_out() {
                return waiting.finished >= target;
            }
        }
        true
    }

    /// Refuses new spans, and flushes. The spans that remain after the deadline are dropped.
    pub(super) fn close(&self, deadline: Instant) -> bool {
        self.waiting.lock().is_closed = true;
        let in_time = self.flush(deadline);
        if !in_time {
            self.give_up.cancel();
        }
        self.wake.notify_one();
        in_time
    }
}

impl Waiting {
    /// True if a batch is complete, so that it need not wait for more spans.
    fn has_batch(&self, settings: &BatchSettings) -> bool {
        self.spans.len() >= settings.max_export_batch_size || self.bytes >= MAX_BATCH_BYTES
    }
}
