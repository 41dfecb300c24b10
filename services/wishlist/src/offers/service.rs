//! The gRPC service `spoor.offers.v1.Offers`.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use opentelemetry::{Context, trace::TraceContextExt};
use spoor_proto::spoor::offers::v1::{
    ForgetReply, ForgetRequest, ListReply, ListRequest, StartSearchReply, StartSearchRequest,
    WatchReply, WatchRequest, offers_server::Offers,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    store::{OfferStore, Wish},
    watcher::SearchTask,
};
use crate::WishName;

/// The most open streams.
pub(super) const MAX_STREAMS: usize = 64;
/// The time after which a stream ends, so that its span is exported, and its reader can connect to
/// another replica.
const MAX_WATCH_TIME: Duration = Duration::from_secs(60);

/// The gRPC service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Arc<OfferStore>,
    pub(super) tasks: mpsc::Sender<SearchTask>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl Offers for Service {
    async fn start_search(
        &self,
        request: Request<StartSearchRequest>,
    ) -> Result<Response<StartSearchReply>, Status> {
        let request = request.into_inner();
        let wish = Wish {
            id: wish_id(&request.wish_id)?,
            name: WishName::new(&request.name)
                .map_err(|error| Status::invalid_argument(format!("name: {error}")))?,
        };
        let context = Context::current();
        let request_span = context.span().span_context().clone();
        // The permit is reserved first, so that a wish without one is not recorded as searched for.
        let permit = self.tasks.try_reserve();
        let searched = permit.is_ok().then(Instant::now);
        self.store
            .wishes()
            .add_linked(&wish, request_span, searched);
        match permit {
            Ok(permit) => permit.send(SearchTask { wish, context }),
            // No warning, which a client could repeat thousands of times a second.
            Err(_) => tracing::debug!("too many new wishes; this one waits for a later round"),
        }
        Ok(Response::new(StartSearchReply {}))
    }

    async fn forget(
        &self,
        request: Request<ForgetRequest>,
    ) -> Result<Response<ForgetReply>, Status> {
        let id = wish_id(&request.get_ref().wish_id)?;
        self.store.wishes().remove(id);
        Ok(Response::new(ForgetReply {}))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let (offers, missing) = self.store.list();
        Ok(Response::new(ListReply {
            offers,
            missing: Some(missing),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchReply, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let message = format!("too many streams ({MAX_STREAMS}); try again later");
            Status::resource_exhausted(message)
        })?;
        let stop = self.stop.clone();
        let end = async move {
            let _ = tokio::time::timeout(MAX_WATCH_TIME, stop.cancelled_owned()).await;
        };
        let replies = BroadcastStream::new(self.store.watch()).map(move |update| {
            // The permit is released when the stream is dropped.
            let _held = &permit;
            // An error of its own, since the reader has to list what it missed.
            let behind = "reader too slow; call Watch again, then List";
            let update = update.map(Some).map_err(|_| Status::data_loss(behind));
            update.map(|update| WatchReply { update })
        });
        Ok(Response::new(Box::pin(replies.take_until(Box::pin(end)))))
    }
}

fn wish_id(text: &str) -> Result<Uuid, Status> {
    Uuid::parse_str(text).map_err(|_| {
        let message = "wish_id: must be a UUID such as 00000000-0000-4000-8000-000000000000";
        Status::invalid_argument(message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_wish_beyond_the_queue_is_first_in_a_round() {
        let store = Arc::new(OfferStore::new());
        let (tasks, mut queue) = mpsc::channel(1);
        let service = Service {
            store: Arc::clone(&store),
            tasks,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: CancellationToken::new(),
        };
        let [queued, waiting] = [1, 2].map(Uuid::from_u128);
        for id in [queued, waiting] {
            let request = StartSearchRequest {
                wish_id: id.to_string(),
                name: "a bike".to_owned(),
            };
            service.start_search(Request::new(request)).await.unwrap();
        }
        assert_eq!(queue.try_recv().unwrap().wish.id, queued);
        assert!(queue.try_recv().is_err());
        assert_eq!(store.wishes().next_round(1).wishes[0].id, waiting);
    }
}
