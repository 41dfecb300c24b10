//! The state that the OTLP receivers of one destination share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    ReceiveSettings, Rejected, ScanError,
    memory::{Memory, Reservation},
    request_counts::RequestCounts,
    turns::Turns,
};

/// The most large bodies that are read at the same time, each on a blocking thread: as many as the
/// process has asynchronous worker threads, which serve all its listeners. The operating system
/// schedules threads fairly, so the workers still get half of the processor time.
pub(crate) const MAX_CONCURRENT_LARGE_BODIES: usize = 2;

/// The longest time spent on early decisions to make room for one request, during which they block
/// an asynchronous worker thread. Deciding on all traces of a segment usually takes less.
pub(crate) const MAX_EARLY_DECISION_TIME: Duration = Duration::from_millis(100);

/// The destination of the spans that a receiver accepts.
pub(crate) trait SpanSink: Send + Sync {
    /// Accepts an encoded `ExportTraceServiceRequest`, all its valid spans or none.
    fn accept(
        &self,
        request: &[u8],
        reservation: &mut Reservation,
    ) -> Result<Rejected, AcceptError>;
}

/// Failure of a destination to accept a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The request cannot be scanned, or there is no memory for its spans.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Too many spans wait to be sent.
    #[error("too many spans wait to be sent; try again later")]
    OutputFull,
    /// The request cannot be written to the journal at present.
    #[error("the journal is full or cannot be written; try again later")]
    Journal,
    /// The sampler does not know the rings yet, is a member of none, has closed its journal, or is
    /// shutting down.
    #[error("the sampler accepts no spans at present; try again later")]
    NotServing,
    /// Another sampler has to decide on some of the traces, and too many spans wait for it.
    #[error("too many spans wait for another sampler; try again later")]
    PeerFull,
    /// The request alone would fill the journal.
    #[error("the request is too large for the journal; send smaller batches")]
    TooLargeForJournal,
}

/// Receives OTLP for one destination. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Receiver(Arc<Shared>);

struct Shared {
    settings: ReceiveSettings,
    memory: Memory,
    small_bodies: Semaphore,
    large_bodies: Turns,
    requests: RequestCounts,
    closed: AtomicBool,
    sink: Box<dyn SpanSink>,
}

impl Receiver {
    pub(crate) fn new(settings: ReceiveSettings, sink: impl SpanSink + 'static) -> Self {
        Self(Arc::new(Shared {
            memory: Memory::new(settings.max_receiving_bytes),
            small_bodies: Semaphore::new(1),
            large_bodies: Turns::new(MAX_CONCURRENT_LARGE_BODIES),
            requests: RequestCounts::default(),
            closed: AtomicBool::new(false),
            sink: Box::new(sink),
            settings,
        }))
    }

    pub(crate) fn settings(&self) -> &ReceiveSettings {
        &self.0.settings
    }

    /// The bound on requests that are being received.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The turns of small bodies, each read on the asynchronous worker thread of its request. Only
    /// one at a time: the other threads serve the other listeners, whose requests would otherwise
    /// wait behind thousands of bodies, and a thread may have to wait for the sampler's lock.
    pub(crate) fn small_bodies(&self) -> &Semaphore {
        &self.0.small_bodies
    }

    /// The turns of bodies that are too large for an asynchronous worker thread.
    pub(crate) fn large_bodies(&self) -> &Turns {
        &self.0.large_bodies
    }

    pub(crate) fn request_counts(&self) -> &RequestCounts {
        &self.0.requests
    }

    /// Refuses all requests from now on.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Accepts a request for which memory is already reserved.
    pub(crate) fn accept(
        &self,
        request: &[u8],
        reservation: &mut Reservation,
    ) -> Result<Rejected, AcceptError> {
        self.0.sink.accept(request, reservation)
    }
}
