//! Searches for offers: at once for a new wish, and periodically for all wishes.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use opentelemetry::{Context, trace::FutureExt};
use spoor_proto::spoor::wishlist::v1::{ListRequest, wishlist_client::WishlistClient};
use spoor_telemetry::grpc::Channel;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tracing::{Instrument, Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::{
    known::{Known, Wanted},
    marketplace::{Marketplace, SearchLimits},
};
use crate::WishName;

/// The most concurrent searches, of a round and of new wishes each.
const MAX_SEARCHES: usize = 4;
/// The most wishes in a round. The others follow in the next one.
const MAX_WISHES_PER_ROUND: usize = 20;
/// The delay of the first round, so that services that start together are ready by then.
const SETTLE_DELAY: Duration = Duration::from_secs(2);

/// A search for a new wish, in the trace of the request that added it.
#[derive(Debug)]
pub(super) struct SearchTask {
    pub(super) wanted: Wanted,
    pub(super) context: Context,
}

/// The background tasks that search for offers.
pub(super) struct Watcher {
    pub(super) wishlist: WishlistClient<Channel>,
    pub(super) marketplaces: Arc<[Marketplace]>,
    pub(super) known: Arc<Known>,
    pub(super) limits: SearchLimits,
}

/// The error of listing the wishes.
#[derive(Debug, thiserror::Error)]
enum ListWishesError {
    #[error("wishlist failed")]
    Answer(#[source] Status),
    #[error("wishlist did not respond within {0:?}")]
    Late(Duration),
}

impl Watcher {
    /// Searches for new wishes until stopped.
    pub(super) async fn run_tasks(&self, queue: mpsc::Receiver<SearchTask>) {
        let tasks = tokio_stream::wrappers::ReceiverStream::new(queue)
            .take_until(self.limits.stop.cancelled());
        tasks
            .for_each_concurrent(MAX_SEARCHES, |task| {
                let search = self.search(task.wanted).map(drop);
                search.with_context(task.context)
            })
            .await;
    }

    /// Searches for all wishes periodically until stopped.
    pub(super) async fn run_rounds(&self, every: Duration) {
        let mut timer = interval_at(Instant::now() + SETTLE_DELAY.min(every), every);
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
        let before = self.known.before_asking();
        let span = Span::current();
        match self.wishes().await {
            Ok(wishes) => self.known.take_over(&before, &wishes),
            // The known wishes are searched for anyway.
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "cannot list the wishes");
            }
        }
        let round = self.known.next_round(MAX_WISHES_PER_ROUND);
        for cause in round.causes {
            span.add_link(cause);
        }
        span.record("wishes", number(round.wanted.len()));
        let new: usize = stream::iter(round.wanted)
            .take_until(self.limits.stop.cancelled())
            .map(|wanted| self.search(wanted))
            .buffer_unordered(MAX_SEARCHES)
            .fold(0, async |sum, new| sum + new)
            .await;
        span.record("offers.new", number(new));
    }

    async fn wishes(&self) -> Result<Vec<Wanted>, ListWishesError> {
        let deadline = self.limits.deadline;
        let mut request = Request::new(ListRequest {});
        request.set_timeout(deadline);
        let mut wishlist = self.wishlist.clone();
        // The channel's own timeout does not cover connecting.
        let reply = timeout(deadline, wishlist.list(request))
            .await
            .map_err(|_elapsed| ListWishesError::Late(deadline))?
            .map_err(ListWishesError::Answer)?;
        let wishes = reply.into_inner().wishes.into_iter();
        // Invalid wishes are skipped; wishlist should have none.
        Ok(wishes
            .filter_map(|wish| Wanted::new(&wish.id, &wish.name))
            .collect())
    }

    /// Searches all marketplaces for a wish and returns the number of new offers. The future is
    /// boxed to keep the types of its callers' futures small.
    fn search(&self, wanted: Wanted) -> BoxFuture<'_, usize> {
        let search = async move {
            // The span is created when the future is polled, in the context of the caller.
            let span = info_span!(
                "look",
                wish.id = %wanted.id,
                offers.new = Empty,
                marketplaces.missing = Empty,
            );
            self.ask_all(&wanted).instrument(span).await
        };
        search.boxed()
    }

    async fn ask_all(&self, wanted: &Wanted) -> usize {
        let all = self.marketplaces.iter();
        let new = join_all(all.map(|marketplace| self.ask(marketplace, wanted))).await;
        let missing = new.iter().filter(|new| new.is_none()).count();
        let new: usize = new.into_iter().flatten().sum();
        let span = Span::current();
        span.record("offers.new", number(new));
        span.record("marketplaces.missing", number(missing));
        new
    }

    /// Searches one marketplace. `None` if it did not respond.
    async fn ask(&self, marketplace: &Marketplace, wanted: &Wanted) -> Option<usize> {
        let name = &*marketplace.name;
        match marketplace.search(&wanted.what, &self.limits).await {
            Ok(offers) => Some(self.known.answered(wanted.id, name, offers)),
            Err(no_answer) => {
                self.known.unanswered(name, no_answer.to_string());
                None
            }
        }
    }
}

impl Wanted {
    fn new(id: &str, what: &str) -> Option<Self> {
        Some(Self {
            id: Uuid::parse_str(id).ok()?,
            what: WishName::new(what).ok()?,
        })
    }
}

/// Converts a count to a signed number, since `tracing-opentelemetry` records `u64` as text.
fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
