//! Searches for offers: immediately for a new wish, and in periodic rounds for all wishes in turn.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use opentelemetry::{Context, trace::FutureExt};
use spoor_proto::spoor::wishlist::v1::{ListRequest, wishlist_client::WishlistClient};
use spoor_telemetry::{grpc::Channel, grpc::within};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::{
    marketplace::{Marketplace, SearchLimits},
    store::{OfferStore, Wish},
};
use crate::WishName;

/// The most concurrent searches in a round. As many searches for new wishes run beside them.
const MAX_SEARCHES: usize = 4;
/// The most wishes in a round. The others follow in later ones.
const MAX_WISHES_PER_ROUND: usize = 20;
/// The delay of the first round, so that services that start together are ready by then.
const SETTLE_DELAY: Duration = Duration::from_secs(2);

/// A search for a new wish, in the trace of the request that added it.
#[derive(Debug)]
pub(super) struct SearchTask {
    pub(super) wish: Wish,
    pub(super) context: Context,
}

/// The background tasks that search for offers.
pub(super) struct Watcher {
    pub(super) wishlist: WishlistClient<Channel>,
    pub(super) marketplaces: Arc<[Marketplace]>,
    pub(super) store: Arc<OfferStore>,
    pub(super) limits: SearchLimits,
}

impl Watcher {
    /// Searches for new wishes until stopped.
    pub(super) async fn run_tasks(&self, queue: mpsc::Receiver<SearchTask>) {
        let tasks = tokio_stream::wrappers::ReceiverStream::new(queue)
            .take_until(self.limits.stop.cancelled());
        tasks
            .for_each_concurrent(MAX_SEARCHES, |task| {
                let search = self.search(task.wish).map(drop);
                search.with_context(task.context)
            })
            .await;
    }

    /// Searches for all wishes in turn, in periodic rounds, until stopped.
    pub(super) async fn run_rounds(&self, every: Duration) {
        let mut timer = interval_at(Instant::now() + SETTLE_DELAY.min(every), every);
        // A round that took longer than the interval should not be followed by several at once.
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop: &CancellationToken = &self.limits.stop;
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            // A root span, since no request causes a round. The requests that added its wishes are
            // linked.
            let root = info_span!(
                parent: None,
                "offers watch",
                wishes = Empty,
                offers.new = Empty,
                otel.status_code = Empty,
                otel.status_description = Empty,
            );
            self.round().instrument(root).await;
        }
    }

    async fn round(&self) {
        let before = self.store.wishes().begin_sync();
        let span = Span::current();
        match self.wishes().await {
            Ok(wishes) => self.store.wishes().finish_sync(&before, &wishes),
            // The wishes known so far are searched for anyway.
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "cannot list the wishes");
            }
        }
        let round = self.store.wishes().next_round(MAX_WISHES_PER_ROUND);
        for link in round.links {
            span.add_link(link);
        }
        span.record("wishes", number(round.wishes.len()));
        let new: usize = stream::iter(round.wishes)
            .take_until(self.limits.stop.cancelled())
            .map(|wish| self.search(wish))
            .buffer_unordered(MAX_SEARCHES)
            .fold(0, async |sum, new| sum + new)
            .await;
        span.record("offers.new", number(new));
    }

    async fn wishes(&self) -> Result<Vec<Wish>, Status> {
        let list = async |request| self.wishlist.clone().list(request).await;
        let reply = within(self.limits.deadline, ListRequest {}, list).await?;
        // Invalid wishes are skipped; wishlist should have none.
        let wishes = reply.wishes.iter().filter_map(|wish| {
            Some(Wish {
                id: Uuid::parse_str(&wish.id).ok()?,
                name: WishName::new(&wish.name).ok()?,
            })
        });
        Ok(wishes.collect())
    }

    /// Searches all marketplaces for a wish and returns the number of new offers. The future is
    /// boxed to keep the types of its callers' futures small.
    fn search(&self, wish: Wish) -> BoxFuture<'_, usize> {
        let search = async move {
            // The span is created when the future is polled, in the context of the caller.
            let span = info_span!(
                "search offers",
                wish.id = %wish.id,
                offers.new = Empty,
                marketplaces.missing = Empty,
            );
            self.search_all(&wish).instrument(span).await
        };
        search.boxed()
    }

    async fn search_all(&self, wish: &Wish) -> usize {
        let all = self.marketplaces.iter();
        let new = join_all(all.map(|marketplace| self.search_one(marketplace, wish))).await;
        let missing = new.iter().filter(|new| new.is_none()).count();
        let new: usize = new.into_iter().flatten().sum();
        let span = Span::current();
        span.record("offers.new", number(new));
        span.record("marketplaces.missing", number(missing));
        new
    }

    /// Searches one marketplace. `None` if the search failed.
    async fn search_one(&self, marketplace: &Marketplace, wish: &Wish) -> Option<usize> {
        let name = &*marketplace.name;
        match marketplace.search(&wish.name, &self.limits).await {
            Ok(offers) => Some(self.store.record_offers(wish.id, name, offers)),
            Err(error) => {
                self.store.record_failure(name, error.to_string());
                None
            }
        }
    }
}

/// Converts a count to a signed number, since `tracing-opentelemetry` records `u64` as text.
fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
