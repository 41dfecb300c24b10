//! New offers, from one stream of the service offers to all open pages.

use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use spoor_proto::spoor::offers::v1::{WatchReply, watch_reply};
use spoor_telemetry::Backoff;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::offers::{Absent, Offer, Offers, Unknown, absent};

/// The most open pages.
const MAX_READERS: usize = 128;
/// The most events that a page can lag behind.
const MAX_LAG: usize = 256;
/// The interval of keep-alive comments, which keep proxies from closing idle connections.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The time after which a stream ends. Browsers reconnect by themselves.
const MAX_STREAM_TIME: Duration = Duration::from_secs(600);
/// The time after which a browser reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);
/// The delays between attempts to reach offers.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// The events for open pages. Clones share them.
#[derive(Clone)]
pub(super) struct Arrivals(Arc<Inner>);

struct Inner {
    offers: Offers,
    news: broadcast::Sender<News>,
    places: Arc<Semaphore>,
    reader_joined: Notify,
    stop: CancellationToken,
}

#[derive(Clone, Debug)]
enum News {
    Offer(Offer),
    Missing(Vec<Absent>),
    /// The service offers is unavailable.
    Away(Unknown),
    /// The service offers is available again. Pages must fetch what they missed.
    Back,
}

/// The error if too many pages are open.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_READERS} pages are open already; offers are listed at /api/offers")]
pub(super) struct TooManyReaders;

impl Arrivals {
    pub(super) fn new(offers: Offers, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            offers,
            news: broadcast::channel(MAX_LAG).0,
            places: Arc::new(Semaphore::new(MAX_READERS)),
            reader_joined: Notify::new(),
            stop,
        }))
    }

    /// Forwards events of the service offers until stopped, while at least one page is open.
    pub(super) async fn follow(&self) {
        let stop = self.0.stop.clone();
        let following = async {
            let mut backoff = Backoff::new(MIN_BACKOFF);
            loop {
                self.wait_for_reader().await;
                match self.0.offers.watch().await {
                    Ok(news) => {
                        backoff.reset();
                        self.send(News::Back);
                        self.forward(news).await;
                    }
                    Err(unknown) => {
                        self.send(News::Away(unknown));
                        tokio::time::sleep(backoff.next_delay(MAX_BACKOFF)).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// The stream of events from now on, for one page.
    pub(super) fn read(
        &self,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, TooManyReaders> {
        let place = Arc::clone(&self.0.places).try_acquire_owned();
        let place = place.map_err(|_| TooManyReaders)?;
        let stop = self.0.stop.clone();
        let end = async move {
            let _ = tokio::time::timeout(MAX_STREAM_TIME, stop.cancelled_owned()).await;
        };
        let news = BroadcastStream::new(self.0.news.subscribe())
            // The stream of a page that lags ends, so that it reconnects and fetches what it missed.
            .take_while(|news| ready(news.is_ok()))
            .filter_map(move |news| {
                // The permit is released when the stream is dropped.
                let _place = &place;
                ready(news.ok().map(|news| news.event()))
            });
        self.0.reader_joined.notify_one();
        let hello = Event::default().retry(RECONNECT_DELAY).comment("offers");
        let events = stream::iter([hello]).chain(news).map(Ok);
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
        Ok(Sse::new(events.take_until(Box::pin(end))).keep_alive(keep_alive))
    }

    async fn wait_for_reader(&self) {
        while self.0.news.receiver_count() == 0 {
            self.0.reader_joined.notified().await;
        }
    }

    async fn forward(&self, mut replies: tonic::Streaming<WatchReply>) {
        loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    if let Some(news) = reply.news.and_then(News::of) {
                        self.send(news);
                    }
                }
                // Streams end regularly and are opened again.
                Ok(None) => return,
                Err(status) => {
                    self.send(News::Away(Unknown::from(&status)));
                    return;
                }
            }
        }
    }

    fn send(&self, news: News) {
        // Sending fails if the last page was closed meanwhile.
        let _ = self.0.news.send(news);
    }
}

impl News {
    fn of(news: watch_reply::News) -> Option<Self> {
        match news {
            watch_reply::News::Offer(found) => Offer::new(found).map(Self::Offer),
            watch_reply::News::Missing(missing) => Some(Self::Missing(absent(missing))),
        }
    }

    fn event(&self) -> Event {
        let (name, data) = match self {
            Self::Offer(offer) => ("offer", serde_json::to_string(offer)),
            Self::Missing(missing) => ("missing", serde_json::to_string(missing)),
            Self::Away(unknown) => ("away", serde_json::to_string(&unknown.to_string())),
            Self::Back => ("back", Ok("{}".to_owned())),
        };
        // Strings only: there is nothing in them that JSON cannot say.
        Event::default().event(name).data(data.unwrap_or_default())
    }
}
