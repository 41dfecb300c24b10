//! Bounds on the resources of queries, shared by HTTP, gRPC and pages.

use std::time::Duration;

use http::StatusCode;
use spoor_runtime::{StreamLimit, StreamPermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Search, StoredTrace, TraceId, TraceStore,
    scan::decoded_bytes,
    store::{Limit, MAX_READ_TIME},
    turns::{self, Turns},
};

/// The longest response body, in bytes; for a gRPC stream, the most bytes of its messages.
pub const MAX_RESPONSE_BYTES: usize = 32 << 20;
/// The largest trace that a response shows, in stored bytes.
pub const MAX_TRACE_BYTES: usize = 16 << 20;
/// The most memory for the names that a page lists, in bytes.
const MAX_LISTED_BYTES: usize = 1 << 20;
/// The most memory that one trace may take once decoded.
pub const MAX_DECODED_BYTES: usize = 64 << 20;
/// The most responses that are built at the same time; further requests wait.
const MAX_CONCURRENT_BUILDS: usize = 4;
/// The most responses that are built at the same time from all traces in a time window, or the
/// newest 500,000 of them. That takes seconds, while a search decodes only the traces that it
/// returns.
const MAX_CONCURRENT_AGGREGATES: usize = 1;
/// The most responses to searches that are built at the same time. A search may read most of the
/// store, and other requests must not wait for a client that sends many.
const MAX_CONCURRENT_SEARCHES: usize = 2;
/// The most gRPC streams that are open at the same time. Stalled ones end to make room for others.
const MAX_CONCURRENT_STREAMS: usize = 16;
/// The most traces of streams that are built at the same time. All streams may belong to one
/// client.
const MAX_CONCURRENT_STREAMED_TRACES: usize = 2;
/// The most bytes of bodies and messages that are built and not yet sent, over all connections.
/// Bodies of up to 64 KiB do not count.
const MAX_UNSENT_BYTES: usize = 64 << 20;
/// The bytes that one permit represents.
const PERMIT_BYTES: usize = 1 << 10;
/// The longest time that a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The longest time that a client may take to read a response over HTTP.
pub(crate) const MAX_SEND_TIME: Duration = Duration::from_secs(60);

/// A store with the bounds on queries over it. Cheap to clone; all servers of one store share one.
#[derive(Clone, Debug)]
pub struct Queries {
    store: TraceStore,
    builds: Turns,
    aggregates: Turns,
    searches: Turns,
    streamed: Turns,
    /// The turns of these queries' kind, needed in addition to those of all builds.
    own_turns: Option<Turns>,
    streams: StreamLimit,
    /// The turn to wait for a stream slot: one request waits for a slot, and the others wait for
    /// this turn.
    slot_turns: Turns,
    unsent: StreamLimit,
    max_read_time: Duration,
}

/// The reason that a well-formed query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceQueryError {
    /// Too many queries are in progress, or too many bytes of responses are unsent.
    #[error("too many queries at the same time; try again in a few seconds")]
    Busy,
    /// The query did not end within its time.
    #[error(
        "the query was stopped after {} s; choose a service, a shorter period or fewer tags",
        MAX_READ_TIME.as_secs()
    )]
    TooSlow,
    /// The body would be longer than [`MAX_RESPONSE_BYTES`].
    #[error(
        "the response would be larger than {} MiB; request fewer traces or a shorter period",
        MAX_RESPONSE_BYTES >> 20
    )]
    ResponseTooLarge,
    /// The trace is larger than [`MAX_TRACE_BYTES`], or than `MAX_DECODED_BYTES` once decoded.
    #[error(
        "trace {0} is too large to be returned: more than {most} MiB, or {decoded} MiB once decoded",
        most = MAX_TRACE_BYTES >> 20,
        decoded = MAX_DECODED_BYTES >> 20
    )]
    TraceTooLarge(TraceId),
    /// An internal error.
    #[error("cannot build the response: {0}")]
    Failed(String),
}

impl TraceQueryError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Busy | Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            Self::ResponseTooLarge | Self::TraceTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<TraceQueryError> for tonic::Status {
    fn from(error: TraceQueryError) -> Self {
        let message = error.to_string();
        match error {
            TraceQueryError::Busy => Self::unavailable(message),
            TraceQueryError::TooSlow => Self::deadline_exceeded(message),
            TraceQueryError::ResponseTooLarge | TraceQueryError::TraceTooLarge(_) => {
                Self::resource_exhausted(message)
            }
            TraceQueryError::Failed(_) => Self::internal(message),
        }
    }
}

impl Queries {
    /// Queries over a store, with new bounds.
    #[must_use]
    pub fn new(store: TraceStore) -> Self {
        Self {
            store,
            // Each may hold a trace of `MAX_TRACE_BYTES`, and of `MAX_DECODED_BYTES` once decoded:
            // 320 MiB together, which docs/query.md states.
            builds: Turns::new(MAX_CONCURRENT_BUILDS),
            aggregates: Turns::new(MAX_CONCURRENT_AGGREGATES),
            searches: Turns::new(MAX_CONCURRENT_SEARCHES),
            streamed: Turns::new(MAX_CONCURRENT_STREAMED_TRACES),
            own_turns: None,
            streams: StreamLimit::new(MAX_CONCURRENT_STREAMS),
            slot_turns: Turns::new(1),
            unsent: StreamLimit::new(MAX_UNSENT_BYTES / PERMIT_BYTES),
            max_read_time: MAX_READ_TIME,
        }
    }

    /// These queries with the additional bound on those that read every trace in a time window.
    pub(crate) fn aggregates(&self) -> Self {
        self.bounded_by(&self.aggregates)
    }

    /// These queries with the additional bound on searches.
    pub(crate) fn searches(&self) -> Self {
        self.bounded_by(&self.searches)
    }

    /// These queries with the additional bound on the traces of streams.
    pub(crate) fn streamed(&self) -> Self {
        self.bounded_by(&self.streamed)
    }

    fn bounded_by(&self, own_turns: &Turns) -> Self {
        Self {
            own_turns: Some(own_turns.clone()),
            ..self.clone()
        }
    }

    /// Runs work on a thread that may block, once its turn comes. The reader refuses to read more
    /// when its time is over, or when the returned future is dropped, as it is when the client
    /// disconnects.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Reader) -> T + Send + 'static,
    ) -> Result<T, TraceQueryError> {
        let deadline = Instant::now() + MAX_WAIT;
        // In this order: a query that waits for others of its kind must not hold a turn that
        // another kind could use. Both come before a thread is used, so that waiting requests
        // occupy none.
        let own = match &self.own_turns {
            Some(turns) => Some(turns.next(deadline).await.ok_or(TraceQueryError::Busy)?),
            None => None,
        };
        let turn = self.builds.next(deadline).await;
        let turn = turn.ok_or(TraceQueryError::Busy)?;
        let store = self.store.clone();
        let max_read_time = self.max_read_time;
        let work = move |cancelled| {
            work(Reader {
                store,
                cancelled,
                deadline: Instant::now() + max_read_time,
            })
        };
        turns::run((own, turn), work)
            .await
            .map_err(|error| TraceQueryError::Failed(error.to_string()))
    }

    /// Reserves memory for a body until it is sent.
    pub(crate) fn reserve_unsent(&self, bytes: usize) -> Result<StreamPermit, TraceQueryError> {
        // Does not wait: the body is in memory already, and would stay there during the wait.
        let permits =
            u32::try_from(bytes.div_ceil(PERMIT_BYTES)).map_err(|_| TraceQueryError::Busy)?;
        self.unsent.acquire(permits).ok_or(TraceQueryError::Busy)
    }

    /// Waits for a slot for a gRPC stream, and reserves it until the stream ends.
    pub(crate) async fn reserve_stream(&self) -> Result<StreamPermit, TraceQueryError> {
        // In the order of arrival: one client may have all slots, and ask for each that it frees.
        let began = Instant::now();
        let turn = self.slot_turns.next(began + MAX_WAIT).await;
        let _turn = turn.ok_or(TraceQueryError::Busy)?;
        let slot = self.streams.wait(1, began.into_std(), MAX_WAIT).await;
        slot.ok_or(TraceQueryError::Busy)
    }
}

/// Reads the store for one response.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// For reads that are small and so need no bound.
    pub(crate) store: TraceStore,
    cancelled: CancellationToken,
    deadline: Instant,
}

impl Reader {
    /// Returns an error if the time is over, or if the client has disconnected, which then receives
    /// no response.
    fn check(&self) -> Result<(), TraceQueryError> {
        match self.cancelled.is_cancelled() || Instant::now() >= self.deadline {
            true => Err(TraceQueryError::TooSlow),
            false => Ok(()),
        }
    }

    /// The IDs of the traces that match, the newest first.
    pub(crate) fn find(&self, search: &Search) -> Result<Vec<TraceId>, TraceQueryError> {
        let found = self.store.find_while(search, &|| self.check().is_ok());
        found.ok_or(TraceQueryError::TooSlow)
    }

    /// The result of listing names, unless that takes too long or more memory than a response may.
    pub(crate) fn names<T>(
        &self,
        list: impl FnOnce(&TraceStore, Limit<'_>) -> Vec<T>,
    ) -> Result<Vec<T>, TraceQueryError> {
        let (names, outcome) = self.names_within(MAX_RESPONSE_BYTES, list);
        outcome.map(|()| names)
    }

    /// As many of the names found in time as a page has room for.
    pub(crate) fn some_names<T>(
        &self,
        list: impl FnOnce(&TraceStore, Limit<'_>) -> Vec<T>,
    ) -> Vec<T> {
        self.names_within(MAX_LISTED_BYTES, list).0
    }

    fn names_within<T>(
        &self,
        max_bytes: usize,
        list: impl FnOnce(&TraceStore, Limit<'_>) -> Vec<T>,
    ) -> (Vec<T>, Result<(), TraceQueryError>) {
        let mut left = max_bytes;
        let mut outcome = Ok(());
        let names = list(&self.store, &mut |bytes| {
            let fits = left.checked_sub(bytes);
            let fits = fits.ok_or(TraceQueryError::ResponseTooLarge);
            outcome = self.check().and(fits.map(|rest| left = rest));
            outcome.is_ok()
        });
        (names, outcome)
    }

    /// A trace, if it is not too large to be decoded.
    pub(crate) fn trace(&self, id: TraceId) -> Result<Option<StoredTrace>, TraceQueryError> {
        self.check()?;
        let too_large = || TraceQueryError::TraceTooLarge(id);
        // Two bounds: a few stored bytes may become many once decoded, such as a million empty
        // events.
        let found = self.store.trace_within(id, MAX_TRACE_BYTES);
        let Some(trace) = found.map_err(|_| too_large())? else {
            return Ok(None);
        };
        let batches = trace.resource_spans.iter();
        let decoded: usize = batches.map(|batch| decoded_bytes(batch)).sum();
        match decoded > MAX_DECODED_BYTES {
            true => Err(too_large()),
            false => Ok(Some(trace)),
        }
    }
}

#[cfg(test)]
mod tests;
