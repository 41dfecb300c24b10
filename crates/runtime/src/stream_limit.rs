//! A limit on response streams. Stalled ones end when others need room.

use std::{
    cmp::Reverse,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_stream::Stream;

use crate::LogLimit;

/// The total time for which a stream has to wait for its client before it may be ended.
const MIN_STALL: Duration = Duration::from_secs(1);
/// The interval at which a stream that waits for permits checks for free ones.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A limit on what response streams hold, in permits. Clones share it.
///
/// A client may read its response as slowly as it likes, and the stream holds its permits
/// meanwhile. So when others need permits, the limit ends the streams that have waited longest for
/// their client, in total: no single wait would be long if the client reads a few bytes now and
/// then. Closing the connection is not an alternative: it may have other requests, and its peer may
/// still read a byte now and then.
#[derive(Clone, Debug)]
pub struct StreamLimit {
    free: Arc<Semaphore>,
    open: Arc<Mutex<Vec<Weak<dyn AnyHeldStream>>>>,
}

/// Permits for a stream that is about to be opened.
#[derive(Debug)]
pub struct StreamPermit {
    permits: OwnedSemaphorePermit,
    limit: StreamLimit,
}

impl StreamLimit {
    /// Creates a limit of this many permits.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(permits)),
            open: Arc::default(),
        }
    }

    /// Reserves permits, and ends stalled streams if too few are free. Returns `None` if too few
    /// are free even when no stalled stream is left.
    #[must_use]
    pub fn acquire(&self, permits: u32) -> Option<StreamPermit> {
        self.acquire_at(permits, Instant::now())
    }

    fn acquire_at(&self, permits: u32, now: Instant) -> Option<StreamPermit> {
        loop {
            let reserved = self.try_acquire(permits);
            if reserved.is_some() || !self.end_stalled(now) {
                return reserved;
            }
        }
    }

    fn try_acquire(&self, permits: u32) -> Option<StreamPermit> {
        let permits = Arc::clone(&self.free).try_acquire_many_owned(permits);
        let limit = self.clone();
        permits.ok().map(|permits| StreamPermit { permits, limit })
    }

    /// Waits for permits. For the first second after `began`, no stalled stream is ended: many
    /// short streams soon return their permits, and would otherwise end a long one that its client
    /// reads slowly.
    pub async fn wait(
        &self,
        permits: u32,
        began: Instant,
        max_wait: Duration,
    ) -> Option<StreamPermit> {
        loop {
            let waited = began.elapsed();
            let reserved = match waited < MIN_STALL {
                true => self.try_acquire(permits),
                false => self.acquire(permits),
            };
            if reserved.is_some() || waited >= max_wait {
                return reserved;
            }
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Ends the stream that has waited longest for its client. Returns false if none is stalled.
    fn end_stalled(&self, now: Instant) -> bool {
        let mut open = self.open.lock();
        let waits = open.iter().enumerate().filter_map(|(at, stream)| {
            let waited = stream.upgrade()?.waited(now);
            Some((waited, Reverse(at)))
        });
        let stalled = waits.max().filter(|(waited, _)| *waited >= MIN_STALL);
        let Some((_, Reverse(at))) = stalled else {
            return false;
        };
        let longest = open.swap_remove(at);
        drop(open);
        if let Some(stream) = longest.upgrade() {
            stream.end();
        }
        static WARNINGS: LogLimit = LogLimit::new();
        if let Some(suppressed) = WARNINGS.admit() {
            tracing::warn!(suppressed, "ended a response that its client does not read");
        }
        true
    }
}

impl StreamPermit {
    /// Lets a stream hold the permits until it is dropped. If it stalls and others need room, it is
    /// dropped at once, and the client's next read returns `ended`, which should be an error: a
    /// normal end would make the response look complete.
    pub fn hold<S>(self, stream: S, ended: fn() -> S::Item) -> HeldStream<S>
    where
        S: Stream + Send + 'static,
    {
        let held = Arc::new(Held {
            content: Mutex::new(Some(Content {
                stream: Box::pin(stream),
                _permits: self.permits,
            })),
            wait: Arc::new(Wait(Mutex::new(WaitState {
                since: Some(Instant::now()),
                earlier: Duration::ZERO,
                reader: None,
            }))),
        });
        let weak = Arc::downgrade(&held);
        let mut open = self.limit.open.lock();
        open.retain(|stream| stream.strong_count() > 0);
        open.push(weak);
        drop(open);
        HeldStream { held, ended }
    }
}

/// A stream that may end when others need room.
pub struct HeldStream<S: Stream> {
    held: Arc<Held<S>>,
    ended: fn() -> S::Item,
}

struct Held<S> {
    /// `None` once the stream has been ended to make room.
    // Shared, because a connection does not poll a stream whose client reads nothing.
    content: Mutex<Option<Content<S>>>,
    wait: Arc<Wait>,
}

struct Content<S> {
    stream: Pin<Box<S>>,
    _permits: OwnedSemaphorePermit,
}

/// A held stream, whatever its items are.
trait AnyHeldStream: Send + Sync {
    /// The total time for which the stream has waited for its client.
    fn waited(&self, now: Instant) -> Duration;

    fn end(&self);
}

impl<S: Send> AnyHeldStream for Held<S> {
    fn waited(&self, now: Instant) -> Duration {
        self.wait.0.lock().total(now)
    }

    fn end(&self) {
        let content = self.content.lock().take();
        drop(content);
    }
}

impl<S: Stream> Stream for HeldStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut content = self.held.content.lock();
        let Some(content) = content.as_mut() else {
            return Poll::Ready(Some((self.ended)()));
        };
        let wait = &self.held.wait;
        wait.0.lock().end(context.waker());
        let waker = Waker::from(Arc::clone(wait));
        let polled = content
            .stream
            .as_mut()
            .poll_next(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            wait.0.lock().since = Some(Instant::now());
        }
        polled
    }
}

/// The wait of a stream for its client. It begins when the stream is opened or returns an item, and
/// ends when the client asks for the next one. If that one is not ready, the wait begins again once
/// it is.
// The last part needs a waker of its own: tonic asks for one more item before it sends what it has,
// so the last poll before a stall usually returns `Pending`.
struct Wait(Mutex<WaitState>);

struct WaitState {
    /// The beginning of the current wait, or `None` while the client waits for the stream.
    since: Option<Instant>,
    /// The sum of the earlier waits.
    earlier: Duration,
    reader: Option<Waker>,
}

impl WaitState {
    fn total(&self, now: Instant) -> Duration {
        let current = self.since.map(|since| now.saturating_duration_since(since));
        self.earlier + current.unwrap_or_default()
    }

    fn end(&mut self, reader: &Waker) {
        self.earlier = self.total(Instant::now());
        self.since = None;
        self.reader = Some(reader.clone());
    }
}

impl Wake for Wait {
    fn wake(self: Arc<Self>) {
        let mut state = self.0.lock();
        state.since = state.since.or(Some(Instant::now()));
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::mpsc;
    use tokio_stream::{StreamExt, wrappers::ReceiverStream};

    use super::*;

    /// An endless stream that holds one permit.
    fn open(limit: &StreamLimit) -> HeldStream<impl Stream<Item = &'static str> + use<>> {
        let permit = limit.acquire(1).unwrap();
        permit.hold(tokio_stream::iter(std::iter::repeat("item")), || "ended")
    }

    fn later() -> Instant {
        Instant::now() + MIN_STALL
    }

    #[tokio::test]
    async fn longest_stalled_stream_ends() {
        let limit = StreamLimit::new(3);
        let mut streams = [open(&limit), open(&limit), open(&limit)];
        // Reads do not make the waits before them shorter.
        for at in [2, 1, 0] {
            assert_eq!(streams[at].next().await, Some("item"));
        }
        assert!(limit.acquire(1).is_none());
        let permit = limit.acquire_at(1, later()).unwrap();
        assert_eq!(streams[0].next().await, Some("ended"));
        assert_eq!(streams[1].next().await, Some("item"));
        drop(permit);
        // More permits end more streams.
        assert!(limit.acquire_at(3, later()).is_some());
        for mut stream in streams {
            assert_eq!(stream.next().await, Some("ended"));
        }
    }

    #[tokio::test]
    async fn no_stream_ends_in_the_first_second_of_a_wait() {
        let limit = StreamLimit::new(1);
        let mut stream = open(&limit);
        let began = Instant::now();
        let permit = limit.wait(1, began, 20 * MIN_STALL).await;
        assert!(permit.is_some() && began.elapsed() >= MIN_STALL);
        assert_eq!(stream.next().await, Some("ended"));
    }

    #[tokio::test]
    async fn dropped_stream_frees_its_permit() {
        let limit = StreamLimit::new(1);
        let stream = open(&limit);
        assert!(limit.acquire(1).is_none());
        drop(stream);
        assert!(limit.acquire(1).is_some());
    }

    #[tokio::test]
    async fn waiting_for_the_server_is_not_a_stall() {
        let limit = StreamLimit::new(1);
        let (sender, receiver) = mpsc::channel(1);
        let permit = limit.acquire(1).unwrap();
        let mut stream = permit.hold(ReceiverStream::new(receiver), || "ended");
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_next(&mut context).is_pending());
        assert!(limit.acquire_at(1, later()).is_none());
        // Now there is an item, which the client does not ask for.
        sender.send("item").await.unwrap();
        assert!(limit.acquire_at(1, later()).is_some());
        assert!(sender.is_closed());
    }
}
