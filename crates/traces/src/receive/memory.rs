//! Bounds what is being received, over all connections.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

/// The bytes of requests that are being received and not yet taken. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// There is no memory for another request now; later there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes are being received at the same time: try again later")]
pub(crate) struct Overloaded;

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
        }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// One request's part; given back when it goes.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    bytes: usize,
}

impl Share {
    /// Whether so many bytes more would be had if nobody else took any.
    pub(crate) fn may_ever_grow(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.memory.max
    }

    /// Makes the share larger.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let before = self.memory.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.memory.max {
            Err(Overloaded)
        } else {
            Ok(())
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request's body that takes its share of memory as it comes.
#[derive(Debug)]
pub(crate) struct Metered<B> {
    body: B,
    share: Share,
}

impl<B> Metered<B> {
    pub(crate) fn new(body: B, share: Share) -> Self {
        Self { body, share }
    }
}

impl<B> Body for Metered<B>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(Into::into)?;
            let len = frame.data_ref().map_or(0, Buf::remaining);
            self.share
                .grow(len)
                .map_err(|error| super::grpc::overloaded(&error))?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
