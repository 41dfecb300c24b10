//! Response bodies, whose bytes count until the peer has read them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};

use super::{body::Exchange, registry::PROCESS};

/// A response's body. While hyper holds a frame and does not poll for the next one, the peer is not
/// reading.
#[derive(Debug)]
pub(super) struct ResponseBody {
    pub(super) body: Body,
    pub(super) exchange: Arc<Exchange>,
}

/// Bytes of a response that hyper holds and the peer has not read.
///
/// For HTTP/2, hyper takes the first frame even if the peer's window is closed, and each further one
/// once the window has had room for a byte of the previous one. A frame of any length is kept until
/// the peer has read it. So neither the body nor the window bounds the memory.
#[derive(Debug)]
pub(super) struct UnreadBytes {
    bytes: Bytes,
    /// All bytes count until the last one is read, since the memory is not freed before then.
    len: usize,
    /// Keeps the request in flight, with its permit, for as long as its response takes memory.
    exchange: Arc<Exchange>,
}

/// The error that ends the responses on a connection that is being closed.
#[derive(Debug, thiserror::Error)]
#[error("connection closed to make room")]
struct Closing;

impl http_body::Body for ResponseBody {
    type Data = UnreadBytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<UnreadBytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let exchange = &self.exchange;
        // While the body is pending, the handler has nothing to send yet, so the peer is not the
        // one that delays.
        let is_pending = polled.is_pending();
        exchange.activity.set_waiting_for_server(is_pending);
        polled
            .map_ok(|frame| frame.map_data(|bytes| UnreadBytes::new(bytes, Arc::clone(exchange))))
            .map(|frame| {
                PROCESS.limit_unread();
                // The frame is dropped here, since the connection's task may take a moment to end.
                if exchange.activity.is_closing() {
                    return Some(Err(axum::Error::new(Closing)));
                }
                frame
            })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl UnreadBytes {
    fn new(bytes: Bytes, exchange: Arc<Exchange>) -> Self {
        let len = bytes.len();
        exchange.activity.add_unread(len);
        Self {
            bytes,
            len,
            exchange,
        }
    }
}

impl Buf for UnreadBytes {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.exchange.activity.record_read(count);
    }
}

impl Drop for UnreadBytes {
    fn drop(&mut self) {
        self.exchange.activity.remove_unread(self.len);
    }
}
