//! The messages of a stream's client, read in bounded memory.

use std::{
    future::poll_fn,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body as _;
use prost::{
    DecodeError, Message, decode_length_delimiter,
    encoding::{DecodeContext, WireType, decode_key, skip_field},
};
use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep},
};
use tonic::{Code, Status, body::Body};

use crate::reservation::Reservation;

/// The field `report` of a client's message.
const REPORT_TAG: u32 = 4;

/// The bytes of each message that need no reservation, so that ordinary messages need none.
const FREE_BYTES: usize = 4 << 10;

/// The longest time from the beginning of a message to its end.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The length of a gRPC message's prefix: a flag for compression, and the message's length.
const PREFIX_BYTES: usize = 5;

/// A message of a stream's client.
pub(crate) trait StreamMessage: Message + Default {
    /// The longest message accepted, in bytes.
    const MAX_BYTES: usize;
    /// The most elements in the lists of a report. Empty ones have only two bytes encoded, but take
    /// many times as much memory once decoded.
    const MAX_REPORT_ELEMENTS: usize;
    /// The field numbers of a list in the report, and of a list in that list's elements, if there
    /// is such a nested list.
    const NESTED_LIST: Option<(u32, u32)>;
}

/// The messages in the body of a stream's request. An incomplete message takes room that all streams
/// share: otherwise thousands of streams could each hold a message of the maximum length.
///
/// Replaces Tonic's `Streaming`, whose buffer stays as large as the longest message until the stream
/// ends.
pub(crate) struct BoundedMessages<M> {
    body: Body,
    room: Arc<Semaphore>,
    /// Bytes that have arrived, after those in `partial`.
    unread: Bytes,
    /// The current message with its prefix, as far as it was read.
    partial: Vec<u8>,
    held: Reservation,
    timeout: Option<Pin<Box<Sleep>>>,
    message: PhantomData<fn() -> M>,
}

impl<M: StreamMessage> BoundedMessages<M> {
    pub(crate) fn new(body: Body, room: Arc<Semaphore>) -> Self {
        Self {
            body,
            room,
            unread: Bytes::new(),
            partial: vec![],
            held: Reservation::default(),
            timeout: None,
            message: PhantomData,
        }
    }

    /// True if a part of a message was read.
    pub(crate) fn has_partial_message(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Waits for the next message, or returns `None` at the end of the body. Cancel safe: the next
    /// call continues the message.
    pub(crate) async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.read_message()? {
                return decode(message.get(PREFIX_BYTES..).unwrap_or_default()).map(Some);
            }
            let data = poll_fn(|context| self.poll_data(context)).await?;
            match data {
                Some(data) => self.unread = data,
                None if self.partial.is_empty() => return Ok(None),
                None => return Err(Status::internal("Unexpected EOF decoding stream.")),
            }
        }
    }

    /// Reads the unread bytes up to the end of the current message. Returns it with its prefix if it
    /// is complete.
    fn read_message(&mut self) -> Result<Option<Vec<u8>>, Status> {
        loop {
            let length = match self.partial[..] {
                [flag, a, b, c, d, ..] => message_length(flag, [a, b, c, d], M::MAX_BYTES)?,
                _ => 0,
            };
            let missing = (PREFIX_BYTES + length).saturating_sub(self.partial.len());
            if missing == 0 {
                self.held = Reservation::default();
                self.timeout = None;
                return Ok(Some(mem::take(&mut self.partial)));
            }
            if self.unread.is_empty() {
                return self.reserve().map(|()| None);
            }
            let read = self.unread.split_to(missing.min(self.unread.len()));
            self.partial.extend_from_slice(&read);
        }
    }

    /// Reserves room for the partially received message, if any.
    fn reserve(&mut self) -> Result<(), Status> {
        if self.partial.is_empty() {
            return Ok(());
        }
        self.timeout
            .get_or_insert_with(|| Box::pin(sleep(MESSAGE_TIMEOUT)));
        let needed = self.partial.len().saturating_sub(FREE_BYTES);
        let needed = needed.div_ceil(1 << 10);
        self.held.grow_to(needed, &self.room).map_err(|_| {
            Status::resource_exhausted("too many long messages are being received; try again later")
        })
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        if let Some(timeout) = &mut self.timeout
            && timeout.as_mut().poll(context).is_ready()
        {
            let detail = format!("a message was not received within {MESSAGE_TIMEOUT:?}");
            return Poll::Ready(Err(Status::deadline_exceeded(detail)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // Trailers end the body.
        Poll::Ready(match frame.transpose() {
            Ok(frame) => Ok(frame.and_then(|frame| frame.into_data().ok())),
            Err(status) if status.code() == Code::Cancelled => Ok(None),
            Err(status) => Err(status),
        })
    }
}

/// The length in a message's prefix. The errors are those of Tonic.
fn message_length(flag: u8, length: [u8; 4], max: usize) -> Result<usize, Status> {
    let length = u32::from_be_bytes(length) as usize;
    match flag {
        0 if length <= max => Ok(length),
        0 => Err(Status::out_of_range(format!(
            "Error, decoded message length too large: found {length} bytes, the limit is: \
             {max} bytes"
        ))),
        1 => Err(Status::internal(
            "protocol error: received message with compressed-flag but no grpc-encoding was \
             specified",
        )),
        flag => Err(Status::internal(format!(
            "protocol error: received message with invalid compression flag: {flag} (valid flags \
             are 0 and 1), while sending request"
        ))),
    }
}

fn decode<M: StreamMessage>(message: &[u8]) -> Result<M, Status> {
    let invalid = |error: DecodeError| Status::invalid_argument(error.to_string());
    let max = M::MAX_REPORT_ELEMENTS;
    if count_report_elements::<M>(message).map_err(invalid)? > max {
        let detail = format!("a report must have at most {max} elements");
        return Err(Status::invalid_argument(detail));
    }
    M::decode(message).map_err(invalid)
}

fn count_report_elements<M: StreamMessage>(message: &[u8]) -> Result<usize, DecodeError> {
    let mut elements = 0;
    for_each_field(message, |tag, report| {
        if tag != REPORT_TAG {
            return Ok(());
        }
        for_each_field(report, |tag, element| {
            elements += 1;
            match M::NESTED_LIST {
                Some((list, nested)) if list == tag => for_each_field(element, |tag, _| {
                    elements += usize::from(tag == nested);
                    Ok(())
                }),
                _ => Ok(()),
            }
        })
    })?;
    Ok(elements)
}

/// Visits the fields of a message: their numbers, and their bytes if they are length-delimited.
fn for_each_field(
    mut message: &[u8],
    mut visit: impl FnMut(u32, &[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message)?;
        if wire_type == WireType::LengthDelimited {
            let length = decode_length_delimiter(&mut message)?;
            // Decoding refuses a field that is longer than its message.
            let (field, rest) = message.split_at(length.min(message.len()));
            message = rest;
            visit(tag, field)?;
        } else {
            skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
            visit(tag, &[])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_proto::spoor::control::v1::ClientMessage;

    use super::*;

    fn messages(room: &Arc<Semaphore>) -> BoundedMessages<ClientMessage> {
        BoundedMessages::new(Body::empty(), Arc::clone(room))
    }

    /// A message of this length.
    fn message(length: u32) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(length.to_be_bytes());
        message.extend(vec![7; length as usize]);
        message
    }

    /// The lengths, with their prefixes, of the messages that this piece of a stream completes.
    fn receive(
        stream: &mut BoundedMessages<ClientMessage>,
        piece: &[u8],
    ) -> Result<Vec<usize>, Status> {
        stream.unread = Bytes::copy_from_slice(piece);
        let mut lengths = vec![];
        while let Some(message) = stream.read_message()? {
            lengths.push(message.len());
        }
        Ok(lengths)
    }

    #[tokio::test]
    async fn only_incomplete_messages_take_room() {
        let room = Arc::new(Semaphore::new(100));
        let mut stream = messages(&room);
        let all = [message(50_000), message(3), message(0)].concat();
        let lengths: [usize; 3] = [50_005, 8, 5];
        assert_eq!(receive(&mut stream, &all).unwrap(), lengths);
        let mut received: Vec<usize> = vec![];
        // In pieces that end anywhere.
        for piece in all.chunks(7) {
            received.extend(receive(&mut stream, piece).unwrap());
            assert!(room.available_permits() >= 100 - 45);
        }
        assert_eq!(received, lengths);
        assert_eq!(room.available_permits(), 100);
        assert!(stream.timeout.is_none());
        assert_eq!(stream.partial.capacity(), 0);
        let long = message(50_000);
        assert!(receive(&mut stream, &long[..40_000]).unwrap().is_empty());
        assert_eq!(room.available_permits(), 100 - 36);
        assert!(stream.timeout.is_some());
        drop(stream);
        assert_eq!(room.available_permits(), 100);
    }

    #[tokio::test]
    async fn too_many_incomplete_messages_end_a_stream() {
        let room = Arc::new(Semaphore::new(100));
        let (mut first, mut second) = (messages(&room), messages(&room));
        let long = message(200_000);
        receive(&mut first, &long[..90_000]).unwrap();
        receive(&mut second, &long[..10_000]).unwrap();
        let refused = receive(&mut second, &long[10_000..90_000]).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let ordinary = message(4_000);
        receive(&mut messages(&room), &ordinary[..3_000]).unwrap();
    }

    #[tokio::test]
    async fn invalid_prefixes_are_refused() {
        let room = Arc::new(Semaphore::new(100));
        let refused = |prefix: &[u8]| receive(&mut messages(&room), prefix).unwrap_err();
        assert!(receive(&mut messages(&room), &[0, 0, 16, 0, 0]).is_ok());
        let too_long = refused(&[0, 0, 16, 0, 1]);
        assert_eq!(too_long.code(), Code::OutOfRange);
        assert!(too_long.message().contains("found 1048577 bytes"));
        for flag in [1, 2] {
            assert_eq!(refused(&[flag, 0, 0, 0, 1]).code(), Code::Internal);
        }
    }

    #[tokio::test]
    async fn body_that_ends_within_a_message_is_refused() {
        let room = Arc::new(Semaphore::new(100));
        let mut stream = messages(&room);
        assert!(stream.message().await.unwrap().is_none());
        stream.unread = Bytes::from_static(&[0, 0, 0, 0, 0, 0]);
        let empty = ClientMessage { message: None };
        assert_eq!(stream.message().await.unwrap(), Some(empty));
        let refused = stream.message().await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal);
    }
}
