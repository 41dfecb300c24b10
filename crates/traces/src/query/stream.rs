//! Traces over gRPC, read from the store while they are sent, within the bounds.

use std::{pin::Pin, vec};

use futures_util::{TryStreamExt, stream::try_unfold};
use prost::Message;
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status};

use super::{
    Queries, TraceQueryError,
    limits::{MAX_RESPONSE_BYTES, Reader},
};
use crate::{StoredTrace, TraceId};

/// The approximate maximum size of a message, well below the default limit of clients (4 MiB).
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The most traces in a row that are too large to be sent. Until there is a message, a stream does
/// not wait for its client, and so cannot be ended to make room for others.
const MAX_REFUSED_TRACES: usize = 16;

/// The messages of a stream.
pub(super) type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The memory that the messages of a trace take, in bytes, and the messages.
pub(super) type Built<M> = (usize, Vec<M>);

/// Sends traces one after the other, each in one or more messages. The messages of a trace are
/// built once those of the previous trace are sent. A truncated stream ends with an error status;
/// reading stops when the client disconnects.
pub(super) async fn stream<M: Message + 'static>(
    queries: &Queries,
    ids: Vec<TraceId>,
    raw: bool,
    messages: fn(&StoredTrace, bool) -> Result<Built<M>, TraceQueryError>,
) -> Result<Response<Messages<M>>, Status> {
    let open = queries.reserve_stream().await?;
    let remaining = Remaining {
        queries: queries.clone(),
        ids: ids.into_iter(),
        bytes: MAX_RESPONSE_BYTES,
        refused: None,
    };
    let next = move |mut remaining: Remaining| async move {
        let built = remaining.next(move |trace| messages(trace, raw)).await?;
        Ok::<_, Status>(built.map(|built| (built, remaining)))
    };
    let messages = try_unfold(remaining, next).try_flatten();
    Ok(Response::new(Box::pin(open.hold(messages, stalled))))
}

/// Sends messages that are all built before the first is sent.
pub(super) async fn stream_built<M: Message + 'static>(
    queries: &Queries,
    build: impl FnOnce(Reader) -> Result<Vec<M>, TraceQueryError> + Send + 'static,
) -> Result<Response<Messages<M>>, Status> {
    let messages = queries.run(build).await??;
    let bytes = messages.iter().map(Message::encoded_len).sum();
    // Counted as unsent before they wait for a slot.
    let messages = hold(queries, bytes, messages)?;
    // Only now, since a slot whose response is being built cannot be given to another stream.
    let open = queries.reserve_stream().await?;
    Ok(Response::new(Box::pin(open.hold(messages, stalled))))
}

/// Counts built messages as unsent until the last one is sent, since all of them stay in memory
/// until then. They end if they wait for their client while others need room.
fn hold<M: Message + 'static>(
    queries: &Queries,
    bytes: usize,
    messages: Vec<M>,
) -> Result<Messages<M>, TraceQueryError> {
    let unsent = queries.reserve_unsent(bytes)?;
    let messages = tokio_stream::iter(messages.into_iter().map(Ok));
    Ok(Box::pin(unsent.hold(messages, stalled)))
}

/// The end of a stream that its client did not read while others needed room.
fn stalled<M>() -> Result<M, Status> {
    let message = "aborted, since the client did not read the stream while others needed room";
    Err(Status::unavailable(message))
}

/// The traces of a stream that are not sent yet.
struct Remaining {
    queries: Queries,
    ids: vec::IntoIter<TraceId>,
    /// The number of bytes that the response may still take.
    bytes: usize,
    /// The error of a trace that was left out, which the final status reports.
    refused: Option<TraceQueryError>,
}

/// The outcome of building the messages of a trace.
enum Outcome<M> {
    /// The encoded length of the messages, in bytes, and the messages.
    Built(usize, Messages<M>),
    /// The trace is left out.
    Refused(TraceQueryError),
}

impl Remaining {
    /// Builds the messages of the next trace.
    async fn next<M: Message + 'static>(
        &mut self,
        messages: impl Fn(&StoredTrace) -> Result<Built<M>, TraceQueryError> + Copy + Send + 'static,
    ) -> Result<Option<Messages<M>>, TraceQueryError> {
        let mut refused = 0;
        for id in self.ids.by_ref() {
            if refused == MAX_REFUSED_TRACES {
                break;
            }
            let read = move |reader: Reader| {
                let trace = reader.trace(id)?;
                trace.as_ref().map_or(Ok((0, Vec::new())), messages)
            };
            let queries = self.queries.streamed();
            let build = async move {
                let (memory, built) = match queries.run(read).await? {
                    Ok(built) => built,
                    Err(error) => return Ok(Outcome::Refused(error)),
                };
                let bytes = built.iter().map(Message::encoded_len).sum();
                Ok(Outcome::Built(bytes, hold(&queries, memory, built)?))
            };
            // In a task of its own: this future is not polled while its client does not read, and
            // would keep the turn that it waits for.
            let built = AbortOnDropHandle::new(tokio::spawn(build)).await;
            match built.map_err(|error| TraceQueryError::Failed(error.to_string()))?? {
                Outcome::Built(bytes, messages) => {
                    let left = self.bytes.checked_sub(bytes);
                    self.bytes = left.ok_or(TraceQueryError::ResponseTooLarge)?;
                    return Ok(Some(messages));
                }
                Outcome::Refused(error) => {
                    self.refused = Some(error);
                    refused += 1;
                }
            }
        }
        self.refused.take().map_or(Ok(None), Err)
    }
}

/// Splits items, each with its size, into runs that fit into a message, unless a single one is
/// larger.
pub(super) fn split<T>(sized: impl IntoIterator<Item = (usize, T)>) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    let mut size = 0;
    for (bytes, item) in sized {
        if size + bytes > MAX_MESSAGE_BYTES && size > 0 {
            runs.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(run) = runs.last_mut() {
            run.push(item);
        }
    }
    runs
}
