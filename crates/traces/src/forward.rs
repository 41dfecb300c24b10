//! The path of a span from a request, through the tail sampler, to the next receiver.

mod annotation;
mod batches;
mod custody;
mod division;
mod forwarding;
mod in_flight;
mod input;
mod journal;
mod journaled;
mod metrics;
mod outgoing;
mod peers;
mod position;
mod queues;
mod recovery;
mod ring;
mod state;
mod tracker;
mod writer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use parking_lot::{Mutex, MutexGuard};
use spoor_policy::{TailTable, Version};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    OutOfMemory, ReceiveSettings, Rejected, ScanError, TailCount, TailSettings, Totals,
    memory::Reservation,
    receiver::{AcceptError, MAX_EARLY_DECISION_TIME, Receiver, SpanSink},
    scan::{Scanned, SourceLimits, scan_within},
    tail::{TailSampler, decide_in_rounds},
};

pub use batches::Batch;
use division::{Divided, Division, scan_staying};
pub use journal::{JournalError, JournalId, JournalSettings, is_journal_file};
use journaled::{Appender, Journaled};
use outgoing::Outgoing;
pub use peers::PeerSettings;
pub use queues::{Forward, ForwardedPart};
pub use recovery::Recovery;
pub use ring::{Hop, InvalidRings, Rings, Visited};
use state::State;

/// The settings of a [`Forwarder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwarderSettings {
    /// The limits on gathering traces until their decision.
    pub tail: TailSettings,
    /// The receiver's bounds.
    pub receive: ReceiveSettings,
    /// The most bytes of spans that wait to be sent; with more, requests are refused. With a
    /// journal, a batch takes room until all batches before it are sent, too.
    pub max_outgoing_bytes: usize,
    /// The tail rules in force from the start, so that no trace is decided without them.
    pub rules: Option<(Version, TailTable)>,
    /// The journal. Without one, a restart loses the traces that wait and the spans that are not
    /// sent.
    pub journal: Option<JournalSettings>,
    /// True to decide on all waiting traces at a shutdown, as without a journal: for a journal that
    /// the next start does not find.
    pub decides_at_shutdown: bool,
    /// The place among the samplers that divide traces. It has no effect without a journal, where
    /// the spans for other samplers wait.
    pub peers: Option<PeerSettings>,
}

impl Default for ForwarderSettings {
    /// 64 MiB of spans that wait to be sent, and no journal.
    fn default() -> Self {
        Self {
            tail: TailSettings::default(),
            receive: ReceiveSettings::default(),
            max_outgoing_bytes: 64 << 20,
            journal: None,
            decides_at_shutdown: false,
            rules: None,
            peers: None,
        }
    }
}

/// The spans to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The complete batches that wait to be sent, excluding those that are being sent.
    pub batches: usize,
    /// The bytes of spans to send, including those that are being sent.
    pub bytes: usize,
}

/// Accepts spans, decides on whole traces, and forwards those that are kept. Cheap to clone.
#[derive(Clone, derive_more::Debug)]
#[debug("Forwarder({:?})", self.totals())]
pub struct Forwarder {
    shared: Arc<Shared>,
    receiver: Receiver,
}

struct Shared {
    journaled: Journaled,
    recovery: Mutex<Recovery>,
    decides_at_shutdown: bool,
    /// Requests may have to be divided.
    has_peers: bool,
    /// Wakes the sender when a batch is complete.
    has_batch: Notify,
    /// Wakes the senders to peers when parts wait, and at the end.
    has_parts: Notify,
}

/// The longest time for which spans are collected in a batch, and by which decisions are late.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// The most decisions on due traces that the decision task makes before it releases the lock.
const MAX_DECISIONS_PER_LOCK: usize = 256;

impl Forwarder {
    /// Starts the sampler and its decision task. If there is a journal, they continue where it
    /// ends. Blocks until the journal is read.
    ///
    /// When the token is cancelled, the receivers accept no more requests. Without a journal, or
    /// with [`ForwarderSettings::decides_at_shutdown`], the task then decides on all waiting traces,
    /// as fast as kept spans are sent. Otherwise they wait for the next start.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be opened, or another process uses it. Corrupt files
    /// are no error: [`Forwarder::recovery`] counts them.
    pub fn start(
        settings: ForwarderSettings,
        shutdown: CancellationToken,
    ) -> Result<Self, JournalError> {
        let opened = Journaled::open(&settings)?;
        Ok(Self::start_with(settings, opened, shutdown))
    }

    fn start_with(
        settings: ForwarderSettings,
        (journaled, recovery): (Journaled, Recovery),
        shutdown: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            journaled,
            recovery: Mutex::new(recovery),
            decides_at_shutdown: settings.decides_at_shutdown || settings.journal.is_none(),
            has_peers: settings.peers.is_some() && settings.journal.is_some(),
            has_batch: Notify::new(),
            has_parts: Notify::new(),
        });
        let forwarder = Self {
            receiver: Receiver::new(settings.receive, Arc::clone(&shared)),
            shared,
        };
        tokio::spawn(forwarder.clone().run_decisions(shutdown));
        forwarder
    }

    /// Counts of the state that was recovered from the journal when it was opened.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        *self.shared.recovery.lock()
    }

    /// Puts tail rules in force for all later decisions, including those on traces that are already
    /// waiting.
    pub fn set_tail(&self, version: Version, table: TailTable) {
        let mut state = self.shared.state();
        state.sampler.set_counted_table(version, table);
    }

    /// Records that the last sender has ended: decisions are postponed, while the services keep the
    /// rest of their spans.
    pub fn interrupt_input(&self) {
        self.shared.state().input.interrupt(Instant::now());
    }

    /// Records that a sender has connected; returns the length of the interruption that this ends,
    /// if there was one. Decisions are postponed until the services have repeated their spans.
    pub fn resume_input(&self) -> Option<Duration> {
        self.shared.state().input.resume(Instant::now())
    }

    /// The decisions by the rules of the latest versions, for each policy.
    #[must_use]
    pub fn tail_counts(&self) -> Vec<TailCount> {
        self.shared.state().sampler.counts()
    }

    /// The OTLP receiver over HTTP: `POST /v1/traces`, with responses for the other signals.
    pub fn otlp_http(&self) -> Router {
        self.receiver.otlp_http()
    }

    /// The OTLP receiver over gRPC, with responses for the other signals.
    pub fn otlp_grpc(&self) -> Router {
        self.receiver.otlp_grpc()
    }

    /// The outcomes of all spans so far, as a consistent snapshot.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.state().sampler.totals()
    }

    /// The spans to send.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.shared.state().backlog()
    }

    /// The next batch to send; `None` once the sampler has shut down and all are sent. The caller
    /// reports the end of sending it with [`Forwarder::sent`].
    pub async fn next_batch(&self) -> Option<Batch> {
        loop {
            // Created before the check, so that no batch is missed between check and wait.
            let has_batch = self.shared.has_batch.notified();
            {
                let mut state = self.shared.state();
                if let Some(batch) = state.next_batch() {
                    return Some(batch);
                }
                if state.is_output_ended {
                    return None;
                }
            }
            has_batch.await;
        }
    }

    /// Frees the room of a batch that was sent, or given up, and confirms it in the journal. With a
    /// journal, a batch that is never reported is sent again after a restart.
    pub async fn sent(&self, batch: &Batch) {
        let should_confirm = self.shared.state().sent(batch);
        if should_confirm {
            self.on_blocking_thread(|shared| {
                shared.journaled.appender().confirm();
            })
            .await;
        }
    }

    /// Returns whether the waiting traces are decided at a shutdown, since the next start would not
    /// find them.
    #[must_use]
    pub fn decides_at_shutdown(&self) -> bool {
        self.shared.decides_at_shutdown
    }

    /// Ends a shutdown even if traces wait or spans are not sent.
    pub fn give_up(&self) {
        {
            let mut state = self.shared.state();
            state.is_output_ended = true;
            state.has_given_up = true;
        }
        self.shared.has_parts.notify_waiters();
    }

    async fn run_decisions(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(FLUSH_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
            }
            // A sampler that does not know the rings does not know the peers to wait for, either.
            if !self.shared.state().is_learning() {
                self.decide_while(|sampler, outgoing| {
                    sampler.decide_due(Instant::now(), MAX_DECISIONS_PER_LOCK, outgoing)
                        || sampler.decide_for_refused(outgoing)
                })
                .await;
            }
            self.flush(false).await;
        }
        // Closes first: otherwise traces could arrive as fast as they are decided.
        self.receiver.close();
        self.shared.state().is_leaving = true;
        self.shared.has_parts.notify_waiters();
        while self.shared.decides_at_shutdown && self.shared.state().has_undelivered() {
            self.decide_while(|sampler, outgoing| sampler.decide_waiting(outgoing))
                .await;
            self.flush(false).await;
            // Without room for kept spans, the other traces wait until some are sent.
            ticks.tick().await;
        }
        self.flush(true).await;
    }

    /// Decides in rounds, between which receivers get the lock, until `decide_some` returns false.
    async fn decide_while(
        &self,
        decide_some: impl Fn(&mut TailSampler, &mut Outgoing) -> bool + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        decide_in_rounds(move || {
            let mut appender = shared.journaled.appender();
            let has_more = appender.decide(&decide_some);
            appender.end();
            has_more
        })
        .await;
    }

    async fn flush(&self, is_last: bool) {
        self.on_blocking_thread(move |shared| {
            shared.state().outgoing.batches.complete();
            shared.has_batch.notify_waiters();
            // May take long, and makes more batches ready if decisions could not be written before.
            let unneeded = shared.journaled.appender().clean_up();
            if is_last {
                let mut state = shared.state();
                state.outgoing.batches.complete();
                state.is_output_ended = true;
            }
            shared.has_batch.notify_waiters();
            journal::delete(&unneeded);
        })
        .await;
    }

    /// Runs work that may wait for the disk. Meanwhile the two asynchronous worker threads serve
    /// probes and scrapes.
    async fn on_blocking_thread(&self, work: impl FnOnce(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        if let Err(error) = done {
            tracing::error!(%error, "cannot write to the journal");
        }
    }
}

impl SpanSink for Arc<Shared> {
    fn accept(
        &self,
        request: &[u8],
        reservation: &mut Reservation,
    ) -> Result<Rejected, AcceptError> {
        // The scan takes longest and shares nothing, so it comes before the lock.
        let scanned = scan_within(request, SourceLimits::FORWARDER, reservation)?;
        let division = self.divide(&scanned, Visited::default());
        let staying = division.as_ref().and_then(Division::staying);
        let staying = staying.as_deref().map(scan_staying).transpose()?;
        let divided = division.map(|division| Divided { division, staying });
        let mut appender = self.make_room(request.len())?;
        appender.accept(request, &scanned, divided)?;
        drop(appender);
        self.notify();
        Ok(scanned.rejected)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.journaled.state()
    }

    /// Divides a request before the lock, if that needs no look-ups.
    fn divide(&self, scanned: &Scanned<'_>, visited: Visited) -> Option<Division> {
        if !self.has_peers {
            return None;
        }
        let (rings, own) = {
            let state = self.state();
            let (rings, own) = state.rings()?;
            if rings.has_former() {
                return None;
            }
            (rings.clone(), own)
        };
        Some(Division::new(scanned, (&rings, own), visited, |_| false))
    }

    /// Makes room for the spans of a request, in steps between which others get the lock.
    fn make_room(&self, request_bytes: usize) -> Result<Appender<'_>, AcceptError> {
        let mut appender = self.journaled.appender();
        let deadline = Instant::now() + MAX_EARLY_DECISION_TIME;
        while appender.decide_early(request_bytes) {
            // The decision task makes the room instead, with pauses for others.
            let mut state = self.state();
            if Instant::now() > deadline || state.sampler.is_refusing() {
                state.sampler.record_refusal(request_bytes);
                return Err(ScanError::from(OutOfMemory::TooManyWaiting).into());
            }
            drop(state);
            appender.bump();
        }
        Ok(appender)
    }

    /// Wakes the senders of batches if one is complete, and those of parts if some wait.
    fn notify(&self) {
        let (has_batch, has_parts) = {
            let state = self.state();
            let has_batch = state.outgoing.batches.has_complete();
            (has_batch, state.parts.count() > 0)
        };
        if has_batch {
            self.has_batch.notify_waiters();
        }
        if has_parts {
            self.has_parts.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
