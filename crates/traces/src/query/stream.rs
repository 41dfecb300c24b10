//! Traces over gRPC, read from the store while they are sent, within the bounds.

use std::pin::Pin;

use prost::Message;
use spoor_runtime::StreamPermit;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Response, Status};

use super::{
    Queries, TraceQueryError,
    limits::{MAX_RESPONSE_BYTES, MAX_SEND_TIME, Reader},
};
use crate::{StoredTrace, TraceId};

/// The most messages that wait for the client to read them.
const MAX_QUEUED_MESSAGES: usize = 2;

/// The approximate maximum size of a message, well below the default limit of clients (4 MiB).
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The messages of a stream.
pub(super) type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The memory that the messages of a trace take, in bytes, and the messages.
pub(super) type Built<M> = (usize, Vec<M>);

/// Sends traces one after the other, each as several messages. A truncated stream ends with an
/// error status; reading stops when the client disconnects.
pub(super) fn stream<M: Message + 'static>(
    queries: &Queries,
    ids: Vec<TraceId>,
    raw: bool,
    messages: fn(&StoredTrace, bool) -> Result<Built<M>, TraceQueryError>,
) -> Result<Response<Messages<M>>, Status> {
    let open = queries.reserve_stream()?;
    let queries = queries.clone();
    let send = |sender| async move {
        let messages = move |trace: &StoredTrace| messages(trace, raw);
        send(&queries, ids, messages, &sender).await
    };
    Ok(respond(open, send))
}

/// Sends messages that are all built before the first is sent. They count as unsent until the stream
/// ends, since all of them stay in memory until the last one is sent.
pub(super) async fn stream_built<M: Message + 'static>(
    queries: &Queries,
    build: impl FnOnce(Reader) -> Result<Vec<M>, TraceQueryError> + Send + 'static,
) -> Result<Response<Messages<M>>, Status> {
    let open = queries.reserve_stream()?;
    let messages = queries.run(build).await??;
    let bytes = messages.iter().map(Message::encoded_len).sum();
    let unsent = queries.reserve_unsent(bytes)?;
    let send = |sender: Sender<Result<M, Status>>| async move {
        for message in messages {
            if sender.send(Ok(message)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let held = |messages: Messages<M>| -> Messages<M> { Box::pin(unsent.hold(messages, stalled)) };
    Ok(respond(open, send).map(held))
}

/// The error that ends a stream that its client did not read while others needed room.
fn stalled<M>() -> Result<M, Status> {
    let message = "the client did not read the stream, and others needed its place";
    Err(Status::unavailable(message))
}

/// Responds with the messages that `send` sends before the deadline for reading them. The stream
/// keeps its place until it ends.
fn respond<M, F>(
    open: StreamPermit,
    send: impl FnOnce(Sender<Result<M, Status>>) -> F,
) -> Response<Messages<M>>
where
    M: Message + 'static,
    F: Future<Output = Result<(), TraceQueryError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_MESSAGES);
    let sent = send(sender.clone());
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = tokio::time::timeout(MAX_SEND_TIME, sent) => ended,
            () = sender.closed() => return,
        };
        let status = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Status::from(error),
            Err(_) => Status::deadline_exceeded("the client read the stream too slowly"),
        };
        // A client that does not read does not receive the status either.
        let _ = tokio::time::timeout(MAX_SEND_TIME, sender.send(Err(status))).await;
    });
    Response::new(Box::pin(open.hold(ReceiverStream::new(receiver), stalled)))
}

async fn send<M: Message + 'static>(
    queries: &Queries,
    ids: Vec<TraceId>,
    messages: impl Fn(&StoredTrace) -> Result<Built<M>, TraceQueryError> + Copy + Send + 'static,
    sender: &Sender<Result<M, Status>>,
) -> Result<(), TraceQueryError> {
    let mut left = MAX_RESPONSE_BYTES;
    let mut refused = None;
    for id in ids {
        let read = move |reader: Reader| {
            let trace = reader.trace(id)?;
            trace.as_ref().map_or(Ok((0, Vec::new())), messages)
        };
        let (memory, built) = match queries.run(read).await? {
            Ok(built) => built,
            Err(error) => {
                // The other traces are sent, and the final status reports this one.
                refused = Some(error);
                continue;
            }
        };
        let bytes = built.iter().map(Message::encoded_len).sum();
        left = left
            .checked_sub(bytes)
            .ok_or(TraceQueryError::ResponseTooLarge)?;
        // Held as a separate stream, which can end while this one waits for its client.
        let unsent = queries.reserve_unsent(memory)?;
        let built = tokio_stream::iter(built.into_iter().map(Ok::<M, Status>));
        let mut built = unsent.hold(built, stalled::<M>);
        while let Some(message) = built.next().await {
            let has_ended = message.is_err();
            if sender.send(message).await.is_err() || has_ended {
                return Ok(());
            }
        }
    }
    refused.map_or(Ok(()), Err)
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
