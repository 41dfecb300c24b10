//! Request bodies that record which side is waited for, and count the bytes that handlers hold.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{activity::RequestActivity, refusal::RequestRefusal};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The least memory that a handler needs to hold a frame: its handle, in a list that doubles when it
/// is full. Frames may have one byte each.
const MIN_FRAME_BYTES: usize = 64;

/// The bytes of bodies that handlers may hold, over all requests of a listener.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    taken: AtomicUsize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            taken: AtomicUsize::new(0),
        }
    }
}

/// One request and its response, from the first head to the last byte that the peer reads.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) activity: RequestActivity,
    budget: Arc<Budget>,
    held: AtomicUsize,
    is_body_complete: AtomicBool,
    has_response_begun: AtomicBool,
    is_over_budget: AtomicBool,
    /// `None` if the request was refused before it had a permit.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Exchange {
    pub(super) fn new(
        activity: RequestActivity,
        budget: Arc<Budget>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            activity,
            budget,
            held: AtomicUsize::new(0),
            is_body_complete: AtomicBool::new(false),
            has_response_begun: AtomicBool::new(false),
            is_over_budget: AtomicBool::new(false),
            _permit: permit,
        }
    }

    /// Returns whether the handler waits for more of the body.
    pub(super) fn is_receiving(&self) -> bool {
        !self.is_body_complete.load(Ordering::Acquire) && !self.activity.is_waiting_for_server()
    }

    /// Returns whether the handler was refused more of the body.
    pub(super) fn is_over_budget(&self) -> bool {
        self.is_over_budget.load(Ordering::Acquire)
    }

    /// Begins the response. From then on both sides may stream, so the rest of the body is
    /// neither bounded in time nor counted.
    pub(super) fn begin_response(&self) {
        self.has_response_begun.store(true, Ordering::Release);
        self.activity.set_waiting_for_server(true);
        self.activity.remove_head();
        self.release();
    }

    fn receive(&self, bytes: usize) -> Result<(), RequestRefusal> {
        self.activity.set_waiting_for_server(true);
        // Counted even if refused below, since `release` subtracts everything in `held`.
        self.held.fetch_add(bytes, Ordering::AcqRel);
        let before = self.budget.taken.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) > self.budget.max {
            self.is_over_budget.store(true, Ordering::Release);
            return Err(RequestRefusal::OverBudget);
        }
        Ok(())
    }

    fn release(&self) {
        let held = self.held.swap(0, Ordering::AcqRel);
        self.budget.taken.fetch_sub(held, Ordering::AcqRel);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.release();
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct RequestBody<B> {
    body: B,
    exchange: Arc<Exchange>,
}

impl<B: Body> RequestBody<B> {
    pub(super) fn new(body: B, exchange: Arc<Exchange>) -> Self {
        // A body with a known end is not polled again, so its last `None` is never seen.
        if body.is_end_stream() {
            exchange.is_body_complete.store(true, Ordering::Release);
        }
        Self { body, exchange }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let exchange = &self.exchange;
        // A stream in both directions may last for as long as both sides like.
        if exchange.has_response_begun.load(Ordering::Acquire) {
            return polled.map_err(Into::into);
        }
        match polled {
            Poll::Pending => {
                exchange.activity.set_waiting_for_server(false);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                let bytes = bytes.max(MIN_FRAME_BYTES);
                if self.body.is_end_stream() {
                    exchange.is_body_complete.store(true, Ordering::Release);
                }
                let received = exchange.receive(bytes).map(|()| frame);
                Poll::Ready(Some(received.map_err(Into::into)))
            }
            Poll::Ready(last) => {
                exchange.activity.set_waiting_for_server(true);
                exchange.is_body_complete.store(true, Ordering::Release);
                Poll::Ready(last.map(|last| last.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
