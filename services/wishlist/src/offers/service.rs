//! The gRPC service `spoor.offers.v1.Offers`.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use opentelemetry::{Context, trace::TraceContextExt};
use spoor_proto::spoor::offers::v1::{
    ForgetReply, ForgetRequest, ListReply, ListRequest, LookForReply, LookForRequest, WatchReply,
    WatchRequest, offers_server::Offers,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    known::{Known, Wanted},
    watcher::SearchTask,
};
use crate::WishName;

/// The most open streams.
const MAX_WATCHERS: usize = 64;
/// The time after which a stream ends, so that its span is exported, and its reader can connect to
/// another replica.
const MAX_WATCH_TIME: Duration = Duration::from_secs(60);

/// The gRPC service.
#[derive(Debug)]
pub(super) struct Service {
    known: Arc<Known>,
    tasks: mpsc::Sender<SearchTask>,
    watchers: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Service {
    pub(super) fn new(
        known: Arc<Known>,
        tasks: mpsc::Sender<SearchTask>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            known,
            tasks,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            stop,
        }
    }
}

#[tonic::async_trait]
impl Offers for Service {
    async fn look_for(
        &self,
        request: Request<LookForRequest>,
    ) -> Result<Response<LookForReply>, Status> {
        let request = request.into_inner();
        let wanted = Wanted {
            id: wish_id(&request.wish_id)?,
            what: WishName::new(&request.what)
                .map_err(|error| Status::invalid_argument(format!("what: {error}")))?,
        };
        let context = Context::current();
        let cause = context.span().span_context().clone();
        // A place is reserved first, so that a wish without one is not recorded as searched for.
        let place = self.tasks.try_reserve();
        let looked = place.is_ok().then(Instant::now);
        self.known.wished(&wanted, cause, looked);
        match place {
            Ok(place) => place.send(SearchTask { wanted, context }),
            Err(_) => {
                tracing::warn!("too many new wishes; this one waits for the next round");
            }
        }
        Ok(Response::new(LookForReply {}))
    }

    async fn forget(
        &self,
        request: Request<ForgetRequest>,
    ) -> Result<Response<ForgetReply>, Status> {
        self.known.forget(wish_id(&request.get_ref().wish_id)?);
        Ok(Response::new(ForgetReply {}))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let (offers, missing) = self.known.list();
        Ok(Response::new(ListReply {
            offers,
            missing: Some(missing),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let place = Arc::clone(&self.watchers).try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted(format!(
                "too many streams ({MAX_WATCHERS}); try again later"
            ))
        })?;
        let stop = self.stop.clone();
        let end = async move {
            tokio::time::timeout(MAX_WATCH_TIME, stop.cancelled_owned())
                .await
                .ok();
        };
        let replies = BroadcastStream::new(self.known.watch()).map(move |news| {
            // The permit is released when the stream is dropped.
            let _place = &place;
            news.map(|news| WatchReply { news: Some(news) })
                .map_err(|_behind| {
                    Status::data_loss("reader too slow; call Watch again, then List")
                })
        });
        Ok(Response::new(Box::pin(replies.take_until(Box::pin(end)))))
    }
}

fn wish_id(text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| {
        let message = "wish_id: must be such as 00000000-0000-4000-8000-000000000000";
        Status::invalid_argument(message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_wish_without_a_place_in_the_queue_is_the_next_rounds_first() {
        let known = Arc::new(Known::new());
        let (errands, mut queue) = mpsc::channel(1);
        let service = Service::new(Arc::clone(&known), errands, CancellationToken::new());
        let [queued, waiting] = [1, 2].map(Uuid::from_u128);
        for id in [queued, waiting] {
            let request = LookForRequest {
                wish_id: id.to_string(),
                what: "a bike".to_owned(),
            };
            service.look_for(Request::new(request)).await.unwrap();
        }
        assert_eq!(queue.try_recv().unwrap().wanted.id, queued);
        assert!(queue.try_recv().is_err());
        assert_eq!(known.next_round(1).wanted[0].id, waiting);
    }
}
