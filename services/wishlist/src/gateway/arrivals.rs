//! News of offers, from one stream of offers to all pages that are open.

use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use spoor_proto::spoor::offers::v1::{WatchReply, watch_reply};
use spoor_telemetry::Backoff;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::offers::{Absent, Offer, Offers, Unknown, absent};

/// Pages at once.
const MOST_READERS: usize = 128;
/// News that a page may be behind.
const MOST_NEWS: usize = 256;
/// Between two words to a page, so that it and everything between know that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Then a page has to come again, which it does by itself.
const LONGEST: Duration = Duration::from_secs(600);
/// Before a page comes again.
const COME_AGAIN: Duration = Duration::from_secs(2);
/// Between two tries to reach offers.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What the pages are told. Clones are the same.
#[derive(Clone)]
pub(super) struct Arrivals(Arc<Inner>);

struct Inner {
    offers: Offers,
    news: broadcast::Sender<News>,
    places: Arc<Semaphore>,
    somebody: Notify,
    stop: CancellationToken,
}

#[derive(Clone, Debug)]
enum News {
    Offer(Offer),
    Missing(Vec<Absent>),
    /// Nothing is known until further notice.
    Away(Unknown),
    /// News come again; what came meanwhile is to be asked for.
    Back,
}

/// As many pages are open as there can be.
#[derive(Debug, thiserror::Error)]
#[error("{MOST_READERS} pages are open already; offers are listed at /api/offers")]
pub(super) struct TooManyReaders;

impl Arrivals {
    pub(super) fn new(offers: Offers, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            offers,
            news: broadcast::channel(MOST_NEWS).0,
            places: Arc::new(Semaphore::new(MOST_READERS)),
            somebody: Notify::new(),
            stop,
        }))
    }

    /// Hands on what offers says until the stop. Asks for nothing while no page is open.
    pub(super) async fn follow(&self) {
        let stop = self.0.stop.clone();
        let following = async {
            let mut backoff = Backoff::new();
            loop {
                self.somebody().await;
                match self.0.offers.watch().await {
                    Ok(news) => {
                        backoff.reset();
                        self.tell(News::Back);
                        self.hand_on(news).await;
                    }
                    Err(unknown) => {
                        self.tell(News::Away(unknown));
                        tokio::time::sleep(backoff.next(LONGEST_WAIT)).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    /// The news from now on, as a page reads them.
    pub(super) fn read(
        &self,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, TooManyReaders> {
        let place = Arc::clone(&self.0.places).try_acquire_owned();
        let place = place.map_err(|_| TooManyReaders)?;
        let stop = self.0.stop.clone();
        let end = async move {
            let _ = tokio::time::timeout(LONGEST, stop.cancelled_owned()).await;
        };
        let news = BroadcastStream::new(self.0.news.subscribe())
            // Who is behind comes again, and asks for what it missed.
            .take_while(|news| ready(news.is_ok()))
            .filter_map(move |news| {
                // Its place is free when the stream is dropped.
                let _place = &place;
                ready(news.ok().map(|news| news.event()))
            });
        self.0.somebody.notify_one();
        let hello = Event::default().retry(COME_AGAIN).comment("offers");
        let events = stream::iter([hello]).chain(news).map(Ok);
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
        Ok(Sse::new(events.take_until(Box::pin(end))).keep_alive(keep_alive))
    }

    async fn somebody(&self) {
        while self.0.news.receiver_count() == 0 {
            self.0.somebody.notified().await;
        }
    }

    async fn hand_on(&self, mut replies: tonic::Streaming<WatchReply>) {
        loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    if let Some(news) = reply.news.and_then(News::of) {
                        self.tell(news);
                    }
                }
                // It ends now and then; there is another.
                Ok(None) => return,
                Err(status) => {
                    self.tell(News::Away(Unknown::from(&status)));
                    return;
                }
            }
        }
    }

    fn tell(&self, news: News) {
        // The last page may have been closed.
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
        // Strings only: there is nothing in them that JSON can't say.
        Event::default().event(name).data(data.unwrap_or_default())
    }
}
