//! Updates of offers, forwarded from one stream of the offers service to all open pages.

use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use spoor_proto::spoor::offers::v1::{WatchReply, watch_reply};
use spoor_telemetry::Backoff;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::offers::{Offer, Offers, OffersError, UnavailableMarketplace, unavailable_marketplaces};

/// The most open pages, each of which holds a connection.
const MAX_READERS: usize = 128;
/// The most updates by which a page can lag behind.
const MAX_LAG_UPDATES: usize = 256;
/// The interval of keep-alive comments, which keep proxies from closing idle connections.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The time after which a stream ends. Browsers reconnect by themselves.
const MAX_STREAM_TIME: Duration = Duration::from_secs(600);
/// The time after which a browser reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);
/// The delays between attempts to reach offers.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// The updates for open pages. Clones share them.
#[derive(Clone)]
pub(super) struct Updates(Arc<Inner>);

struct Inner {
    offers: Offers,
    updates: broadcast::Sender<Update>,
    permits: Arc<Semaphore>,
    reader_joined: Notify,
    stop: CancellationToken,
}

#[derive(Clone, Debug)]
enum Update {
    Offer(Offer),
    Missing(Vec<UnavailableMarketplace>),
    /// The offers service is unavailable.
    Unavailable(OffersError),
    /// The offers service is available again. Pages must fetch what they missed.
    Available,
}

/// The error if too many pages are open.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_READERS} pages are open already; offers are listed at /api/offers")]
pub(super) struct TooManyReaders;

impl Updates {
    pub(super) fn new(offers: Offers, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            offers,
            updates: broadcast::channel(MAX_LAG_UPDATES).0,
            permits: Arc::new(Semaphore::new(MAX_READERS)),
            reader_joined: Notify::new(),
            stop,
        }))
    }

    /// Forwards updates of the offers service until stopped. Opens a stream of them only while at least
    /// one page is open.
    pub(super) async fn follow(&self) {
        let stop = self.0.stop.clone();
        let following = async {
            let mut backoff = Backoff::new(MIN_BACKOFF);
            loop {
                // `notify_one` stores a permit, so that a page which opens between the check and the
                // wait is not missed.
                while self.0.updates.receiver_count() == 0 {
                    self.0.reader_joined.notified().await;
                }
                match self.0.offers.watch().await {
                    Ok(replies) => {
                        backoff.reset();
                        self.send(Update::Available);
                        self.forward(replies).await;
                    }
                    Err(error) => self.send(Update::Unavailable(error)),
                }
                tokio::time::sleep(backoff.next_delay(MAX_BACKOFF)).await;
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// Opens the stream of updates from now on, for one page.
    pub(super) fn subscribe(
        &self,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, TooManyReaders> {
        let permit = Arc::clone(&self.0.permits).try_acquire_owned();
        let permit = permit.map_err(|_| TooManyReaders)?;
        let stop = self.0.stop.clone();
        let end = async move {
            let _ = tokio::time::timeout(MAX_STREAM_TIME, stop.cancelled_owned()).await;
        };
        let updates = BroadcastStream::new(self.0.updates.subscribe())
            // The stream of a page that lags ends, so that it reconnects and fetches what it missed.
            .take_while(|update| ready(update.is_ok()))
            .filter_map(move |update| {
                // The permit is released when the stream is dropped.
                let _held = &permit;
                ready(update.ok().map(|update| update.event()))
            });
        // After the subscription, so that the first update is not sent before this page can receive it.
        self.0.reader_joined.notify_one();
        let greeting = Event::default().retry(RECONNECT_DELAY).comment("offers");
        let events = stream::iter([greeting]).chain(updates).map(Ok);
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
        Ok(Sse::new(events.take_until(Box::pin(end))).keep_alive(keep_alive))
    }

    async fn forward(&self, mut replies: tonic::Streaming<WatchReply>) {
        // Streams end regularly and are opened again.
        while let Some(reply) = replies.next().await {
            match reply {
                Ok(reply) => {
                    if let Some(update) = reply.update.and_then(Update::new) {
                        self.send(update);
                    }
                }
                Err(status) => return self.send(Update::Unavailable(status.into())),
            }
        }
    }

    fn send(&self, update: Update) {
        // Sending fails if the last page has been closed.
        let _ = self.0.updates.send(update);
    }
}

impl Update {
    fn new(update: watch_reply::Update) -> Option<Self> {
        match update {
            watch_reply::Update::Offer(found) => Offer::new(found).map(Self::Offer),
            watch_reply::Update::Missing(missing) => {
                Some(Self::Missing(unavailable_marketplaces(missing)))
            }
        }
    }

    fn event(&self) -> Event {
        let (name, data) = match self {
            Self::Offer(offer) => ("offer", serde_json::to_string(offer)),
            Self::Missing(missing) => ("missing", serde_json::to_string(missing)),
            Self::Unavailable(error) => ("unavailable", serde_json::to_string(&error.to_string())),
            Self::Available => ("available", Ok("{}".to_owned())),
        };
        // Serialization to JSON cannot fail, since all fields become strings.
        Event::default().event(name).data(data.unwrap_or_default())
    }
}
