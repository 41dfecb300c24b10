//! A bound on partially received messages, over all streams.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep},
};
use tonic::{Status, body::Body};

use crate::reservation::Reservation;

/// The bytes of each message that need no reservation, so that ordinary messages need none.
const FREE_BYTES: usize = 4 << 10;

/// The longest time from the beginning of a message to its end.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The length of a gRPC message's prefix: a flag for compression, and the message's length.
const PREFIX_BYTES: usize = 5;

/// The body of a stream's request. Its incomplete message takes room that all streams share:
/// otherwise thousands of streams could each hold a message of the maximum length.
pub(crate) struct BoundedMessages {
    body: Body,
    room: Arc<Semaphore>,
    prefix: Vec<u8>,
    /// The bytes of the current message that have arrived, and those that have not.
    received: usize,
    missing: usize,
    held: Reservation,
    timeout: Option<Pin<Box<Sleep>>>,
}

impl BoundedMessages {
    pub(crate) fn new(body: Body, room: Arc<Semaphore>) -> Self {
        Self {
            body,
            room,
            prefix: Vec::with_capacity(PREFIX_BYTES),
            received: 0,
            missing: 0,
            held: Reservation::default(),
            timeout: None,
        }
    }

    fn count(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            let wanted = match self.missing {
                0 => PREFIX_BYTES - self.prefix.len(),
                missing => missing,
            };
            let (taken, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            if self.missing == 0 {
                self.prefix.extend_from_slice(taken);
                self.read_prefix();
            } else {
                self.received += taken.len();
                self.missing -= taken.len();
            }
            if self.missing == 0 && self.prefix.is_empty() {
                self.received = 0;
                self.held = Reservation::default();
                self.timeout = None;
            }
        }
        self.reserve()
    }

    fn read_prefix(&mut self) {
        if let [_compressed, a, b, c, d] = self.prefix[..] {
            self.missing = u32::from_be_bytes([a, b, c, d]) as usize;
            self.prefix.clear();
        }
    }

    /// Reserves room for the partially received message, if any.
    fn reserve(&mut self) -> Result<(), Status> {
        if self.missing == 0 && self.prefix.is_empty() {
            return Ok(());
        }
        self.timeout
            .get_or_insert_with(|| Box::pin(sleep(MESSAGE_TIMEOUT)));
        let needed = self.received.saturating_sub(FREE_BYTES).div_ceil(1 << 10);
        self.held.grow_to(needed, &self.room).map_err(|_| {
            Status::resource_exhausted("too many long messages are being received; try again later")
        })
    }
}

impl http_body::Body for BoundedMessages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(timeout) = &mut this.timeout
            && timeout.as_mut().poll(context).is_ready()
        {
            let detail = format!("a message was not received within {MESSAGE_TIMEOUT:?}");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(detail))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(status) = this.count(data)
        {
            return Poll::Ready(Some(Err(status)));
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn messages(room: &Arc<Semaphore>) -> BoundedMessages {
        BoundedMessages::new(Body::empty(), Arc::clone(room))
    }

    /// A message of this length.
    fn message(length: u32) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(length.to_be_bytes());
        message.extend(vec![7; length as usize]);
        message
    }

    #[tokio::test]
    async fn only_incomplete_messages_take_room() {
        let room = Arc::new(Semaphore::new(100));
        let mut stream = messages(&room);
        let both = [message(50_000), message(3), message(0)].concat();
        // In pieces that end anywhere.
        for piece in both.chunks(7) {
            stream.count(piece).unwrap();
            assert!(room.available_permits() >= 100 - 45);
        }
        assert_eq!(room.available_permits(), 100);
        assert!(stream.timeout.is_none());
        let long = message(50_000);
        stream.count(&long[..40_000]).unwrap();
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
        first.count(&long[..90_000]).unwrap();
        second.count(&long[..10_000]).unwrap();
        let refused = second.count(&long[10_000..90_000]).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let ordinary = message(4_000);
        messages(&room).count(&ordinary[..3_000]).unwrap();
    }
}
