//! The state that the OTLP receivers of one destination share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    ReceiveSettings, Rejected, ScanError,
    memory::{Memory, Share},
    request_counts::RequestCounts,
    turns::Turns,
};

/// The most large bodies that are read at the same time, on separate threads: all listeners of the
/// process share two asynchronous worker threads, and the system schedules both kinds fairly.
pub(crate) const MAX_CONCURRENT_LARGE_BODIES: usize = 2;

/// The destination of the spans that a receiver accepts.
pub(crate) trait SpanSink: Send + Sync {
    /// Accepts an encoded `ExportTraceServiceRequest`, all its valid spans or none.
    fn accept(&self, request: &[u8], share: &mut Share) -> Result<Rejected, AcceptError>;
}

/// Failure of a destination to accept a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AcceptError {
    /// The request cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Too many spans wait to be sent.
    #[error("too many spans wait to be sent; try again later")]
    OutputFull,
    /// The request cannot be written to the journal at present.
    #[error("the journal is full or cannot be written; try again later")]
    Journal,
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
    large_bodies: Turns,
    requests: RequestCounts,
    closed: AtomicBool,
    sink: Box<dyn SpanSink>,
}

impl Receiver {
    pub(crate) fn new(settings: ReceiveSettings, sink: impl SpanSink + 'static) -> Self {
        Self(Arc::new(Shared {
            memory: Memory::new(settings.max_receiving_bytes),
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

    /// Accepts a request that has a share of the memory already.
    pub(crate) fn accept(
        &self,
        request: &[u8],
        share: &mut Share,
    ) -> Result<Rejected, AcceptError> {
        self.0.sink.accept(request, share)
    }
}
