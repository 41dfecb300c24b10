//! Request bodies that record which side is waited for, and count the bytes that handlers hold.

use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{activity::RequestActivity, refusal::RequestRefusal};
use crate::LogLimit;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The least memory that a handler needs to hold a frame: its handle, in a list that doubles when it
/// is full. Frames may have one byte each.
const MIN_FRAME_BYTES: usize = 64;

/// The time within which a body of any length usually arrives. Slower ones end when room is needed.
const MAX_USUAL_BODY_TIME: Duration = Duration::from_secs(2);
/// The fewest bytes to free at a time by ending slow bodies, if they hold that many: the length of
/// the longest body that receivers accept.
const MIN_FREED_BYTES: usize = 16 << 20;

/// The incomplete bodies of this process, each with the time when its first part arrived. Bodies
/// that have become complete stay in the list until it is full.
static PARTIAL_BODIES: Mutex<Vec<(Instant, Weak<Exchange>)>> = Mutex::new(Vec::new());

/// Ends slow bodies of this process, the largest first, to make room for others. Each holds its
/// memory for as long as its sender likes, up to the time limit on bodies, so a few senders could
/// keep out all others. The memory is free once the requests have ended, a moment later.
pub fn end_slow_bodies() {
    end_slow(|_| true);
}

fn end_slow(is_included: impl Fn(&Exchange) -> bool) {
    let partial = PARTIAL_BODIES.lock();
    let mut slow: Vec<_> = partial
        .iter()
        .filter(|(since, _)| since.elapsed() > MAX_USUAL_BODY_TIME)
        .filter_map(|(_, exchange)| exchange.upgrade())
        .filter(|exchange| exchange.is_receiving() && is_included(exchange))
        .map(|exchange| (exchange.held_bytes.load(Ordering::Acquire), exchange))
        .collect();
    drop(partial);
    slow.sort_by_key(|(bytes, _)| *bytes);
    let mut freed = 0;
    while freed < MIN_FREED_BYTES
        && let Some((bytes, exchange)) = slow.pop()
    {
        exchange.ended.notify_one();
        freed += bytes;
    }
    static WARNINGS: LogLimit = LogLimit::new();
    if freed > 0
        && let Some(suppressed) = WARNINGS.admit()
    {
        tracing::warn!(suppressed, "ended requests whose bodies arrive slowly");
    }
}

/// The bytes of bodies that handlers may hold, over all requests of a listener.
#[derive(Debug)]
pub(super) struct Budget {
    max_bytes: usize,
    held_bytes: AtomicUsize,
}

impl Budget {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            held_bytes: AtomicUsize::new(0),
        }
    }
}

/// One request and its response, from the request's head to the last byte that the peer reads.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) activity: RequestActivity,
    budget: Arc<Budget>,
    held_bytes: AtomicUsize,
    is_body_complete: AtomicBool,
    has_response_begun: AtomicBool,
    is_over_budget: AtomicBool,
    /// Notified when the request has to end before its body is complete.
    pub(super) ended: Notify,
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
            held_bytes: AtomicUsize::new(0),
            is_body_complete: AtomicBool::new(false),
            has_response_begun: AtomicBool::new(false),
            is_over_budget: AtomicBool::new(false),
            ended: Notify::new(),
            _permit: permit,
        }
    }

    /// Returns whether the body is incomplete and counts towards the budget.
    fn is_partial(&self) -> bool {
        !self.is_body_complete.load(Ordering::Acquire)
            && !self.has_response_begun.load(Ordering::Acquire)
    }

    /// Returns whether the handler waits for more of the body.
    pub(super) fn is_receiving(&self) -> bool {
        self.is_partial() && !self.activity.is_waiting_for_server()
    }

    /// Returns whether the handler was refused more of the body.
    pub(super) fn is_over_budget(&self) -> bool {
        self.is_over_budget.load(Ordering::Acquire)
    }

    /// Begins the response. From then on, both sides may stream, so the rest of the body is neither
    /// bounded in time nor counted.
    pub(super) fn begin_response(&self) {
        self.has_response_begun.store(true, Ordering::Release);
        self.activity.set_waiting_for_server(true);
        self.activity.remove_head();
        self.release();
    }

    fn receive(self: &Arc<Self>, bytes: usize) -> Result<(), RequestRefusal> {
        self.activity.set_waiting_for_server(true);
        // Counted even if refused below, since `release` subtracts all of `held_bytes`.
        let held = self.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        if held == 0 && self.is_partial() {
            let mut partial = PARTIAL_BODIES.lock();
            // Bodies that are no longer partial are removed only when the list is full. Room for as
            // many again is then reserved, so that few requests scan the whole list. Streams in
            // both directions are removed too: they live long after their response has begun.
            if partial.len() == partial.capacity() {
                partial.retain(|(_, other)| other.upgrade().is_some_and(|it| it.is_partial()));
                let left = partial.len();
                partial.reserve(left);
            }
            partial.push((Instant::now(), Arc::downgrade(self)));
        }
        let before = self.budget.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) > self.budget.max_bytes {
            self.is_over_budget.store(true, Ordering::Release);
            end_slow(|other| Arc::ptr_eq(&other.budget, &self.budget));
            return Err(RequestRefusal::OverBudget);
        }
        Ok(())
    }

    fn release(&self) {
        let held = self.held_bytes.swap(0, Ordering::AcqRel);
        self.budget.held_bytes.fetch_sub(held, Ordering::AcqRel);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.release();
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, exchange: Arc<Exchange>) -> Self {
        // A body with a known end is not polled again, so its last `None` is never seen.
        if body.is_end_stream() {
            exchange.is_body_complete.store(true, Ordering::Release);
        }
        Self { body, exchange }
    }
}

impl Body for RequestBody {
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
