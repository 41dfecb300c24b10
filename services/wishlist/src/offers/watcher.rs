//! Looks for what is wished for: at once for a new wish, and for all of them by a timer.

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
    marketplace::{Marketplace, Patience},
};
use crate::WishName;

/// Wishes that are looked for at the same time, of a round and of new ones each.
const AT_ONCE: usize = 4;
/// Wishes of one round; the others' turn comes in the next.
const MOST_OF_A_ROUND: usize = 20;
/// The first round: by then those that started with this service answer.
const SETTLE: Duration = Duration::from_secs(2);

/// A new wish, in the trace of the request that made it.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) wanted: Wanted,
    pub(super) context: Context,
}

/// Who looks, and where.
pub(super) struct Watcher {
    pub(super) wishlist: WishlistClient<Channel>,
    pub(super) marketplaces: Arc<[Marketplace]>,
    pub(super) known: Arc<Known>,
    pub(super) patience: Patience,
}

/// Why a round found out nothing about what is wished for.
#[derive(Debug, thiserror::Error)]
enum ListWishesError {
    #[error("wishlist failed")]
    Answer(#[source] Status),
    #[error("wishlist gave no answer within {0:?}")]
    Late(Duration),
}

impl Watcher {
    /// Looks for new wishes until `stop`.
    pub(super) async fn errands(&self, queue: mpsc::Receiver<Errand>) {
        let errands = tokio_stream::wrappers::ReceiverStream::new(queue)
            .take_until(self.patience.stop.cancelled());
        errands
            .for_each_concurrent(AT_ONCE, |errand| {
                let looked = self.look(errand.wanted).map(drop);
                looked.with_context(errand.context)
            })
            .await;
    }

    /// Looks for all wishes, again and again until `stop`.
    pub(super) async fn rounds(&self, every: Duration) {
        let mut timer = interval_at(Instant::now() + SETTLE.min(every), every);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop: &CancellationToken = &self.patience.stop;
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            // A root: no request causes a round. Those that the wishes came with are linked.
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
            // Those that are known are looked for all the same.
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "can't ask what is wished for");
            }
        }
        let round = self.known.next_round(MOST_OF_A_ROUND);
        for cause in round.causes {
            span.add_link(cause);
        }
        span.record("wishes", number(round.wanted.len()));
        let new: usize = stream::iter(round.wanted)
            .take_until(self.patience.stop.cancelled())
            .map(|wanted| self.look(wanted))
            .buffer_unordered(AT_ONCE)
            .fold(0, async |sum, new| sum + new)
            .await;
        span.record("offers.new", number(new));
    }

    async fn wishes(&self) -> Result<Vec<Wanted>, ListWishesError> {
        let deadline = self.patience.deadline;
        let mut request = Request::new(ListRequest {});
        request.set_timeout(deadline);
        let mut wishlist = self.wishlist.clone();
        // The channel's own deadline doesn't cover the time that it takes to connect.
        let reply = timeout(deadline, wishlist.list(request))
            .await
            .map_err(|_elapsed| ListWishesError::Late(deadline))?
            .map_err(ListWishesError::Answer)?;
        let wishes = reply.into_inner().wishes.into_iter();
        // A wishlist has no others; if it does, there is nothing to look for.
        Ok(wishes
            .filter_map(|wish| Wanted::new(&wish.id, &wish.name))
            .collect())
    }

    /// Asks every marketplace for a wish; how many offers are new. Boxed: the compiler need not
    /// look through all of it wherever it is awaited.
    fn look(&self, wanted: Wanted) -> BoxFuture<'_, usize> {
        let look = async move {
            // Made here, in the context that the future is polled in.
            let span = info_span!(
                "look",
                wish.id = %wanted.id,
                offers.new = Empty,
                marketplaces.missing = Empty,
            );
            self.ask_all(&wanted).instrument(span).await
        };
        look.boxed()
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

    /// None: it gave no answer.
    async fn ask(&self, marketplace: &Marketplace, wanted: &Wanted) -> Option<usize> {
        let name = &*marketplace.name;
        match marketplace.search(&wanted.what, &self.patience).await {
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

/// Unsigned ones would become texts in a span.
fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
