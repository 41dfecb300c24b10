//! A client of offers.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use jiff::Timestamp;
use spoor_proto::spoor::offers::v1::{
    ForgetRequest, Found, ListRequest, Missing, MissingMarketplace, StartSearchRequest, WatchReply,
    WatchRequest, offers_client::OffersClient,
};
use spoor_telemetry::{grpc::Channel, grpc::within, http::Problem};
use tonic::{Code, Status, Streaming};

use super::wishes::Wish;
use crate::offers::MAX_OFFERS;

/// The longest time that a request waits for offers if it can do without them.
const MAX_OPTIONAL_WAIT: Duration = Duration::from_secs(1);

/// A client of offers.
#[derive(Clone)]
pub(super) struct Offers {
    client: OffersClient<Channel>,
    deadline: Duration,
    /// The number of offers in the last list.
    pub(super) last_len: Arc<AtomicU32>,
}

/// The known offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Listing {
    /// The offers, cheapest first.
    pub(super) offers: Vec<Offer>,
    /// The marketplaces whose last search failed.
    pub(super) missing: Vec<UnavailableMarketplace>,
}

/// An offer in a response.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offer {
    pub(super) wish_id: String,
    pub(super) marketplace: String,
    pub(super) id: String,
    pub(super) title: String,
    /// The price with two decimal places.
    pub(super) price: String,
    pub(super) currency: String,
    pub(super) seller: String,
    pub(super) found: Timestamp,
}

/// A marketplace whose last search failed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct UnavailableMarketplace {
    pub(super) marketplace: String,
    pub(super) why: String,
    pub(super) since: Timestamp,
}

/// The error of a call to offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OffersError {
    #[error("the offers service cannot be reached; the wishlist works without it")]
    Unavailable,
    #[error("the offers service did not respond in time; the wishlist works without it")]
    TimedOut,
    #[error("the offers service failed; the wishlist works without it")]
    Failed,
}

impl Offers {
    pub(super) fn new(channel: Channel, deadline: Duration) -> Self {
        Self {
            client: OffersClient::new(channel),
            deadline,
            last_len: Arc::new(AtomicU32::new(MAX_OFFERS.into())),
        }
    }

    /// Requests a search for a new wish. A failure is ignored, since a later round includes the wish.
    pub(super) async fn start_search(&self, wish: &Wish) {
        let message = StartSearchRequest {
            wish_id: wish.id.clone(),
            name: wish.name.clone(),
        };
        // A failure is logged and recorded in the trace.
        let call = async |request| self.client.clone().start_search(request).await;
        let _ = within(self.optional_wait(), message, call).await;
    }

    /// Requests the removal of a wish's offers. A failure is ignored, since the next round removes them.
    pub(super) async fn forget(&self, id: &str) {
        let message = ForgetRequest {
            wish_id: id.to_owned(),
        };
        // A failure is logged and recorded in the trace.
        let call = async |request| self.client.clone().forget(request).await;
        let _ = within(self.optional_wait(), message, call).await;
    }

    /// Lists the offers for a response that consists only of them.
    pub(super) async fn list(&self) -> Result<Listing, OffersError> {
        self.list_within(self.deadline).await
    }

    /// Lists the offers for a page that can be shown without them.
    pub(super) async fn list_for_page(&self) -> Result<Listing, OffersError> {
        self.list_within(self.optional_wait()).await
    }

    async fn list_within(&self, deadline: Duration) -> Result<Listing, OffersError> {
        let list = async |request| self.client.clone().list(request).await;
        let reply = within(deadline, ListRequest {}, list).await;
        // Zero after a failure: the service need not be running, and then no list is in memory.
        let len = reply.as_ref().map_or(0, |reply| reply.offers.len());
        self.last_len
            .store(u32::try_from(len).unwrap_or(u32::MAX), Relaxed);
        let reply = reply?;
        let mut offers = reply.offers;
        offers.sort_by_key(|found| found.offer.as_ref().map(|offer| offer.price_hundredths));
        Ok(Listing {
            offers: offers.into_iter().filter_map(Offer::new).collect(),
            missing: unavailable_marketplaces(reply.missing.unwrap_or_default()),
        })
    }

    /// Opens a stream of updates from now on.
    pub(super) async fn watch(&self) -> Result<Streaming<WatchReply>, OffersError> {
        let mut client = self.client.clone();
        // Only opening the stream has a deadline: a timeout in the request would apply to the whole
        // stream.
        let opening = client.watch(WatchRequest {});
        match tokio::time::timeout(self.optional_wait(), opening).await {
            Ok(response) => Ok(response?.into_inner()),
            Err(_elapsed) => Err(OffersError::TimedOut),
        }
    }

    fn optional_wait(&self) -> Duration {
        self.deadline.min(MAX_OPTIONAL_WAIT)
    }
}

impl Offer {
    /// Converts a message. `None` if it contains no offer.
    pub(super) fn new(found: Found) -> Option<Self> {
        let offer = found.offer?;
        let hundredths = offer.price_hundredths.unsigned_abs();
        Some(Self {
            wish_id: found.wish_id,
            marketplace: found.marketplace,
            id: offer.id,
            title: offer.title,
            price: format!("{}.{:02}", hundredths / 100, hundredths % 100),
            currency: offer.currency,
            seller: offer.seller,
            found: time(found.found_unix_millis),
        })
    }
}

/// Converts the marketplaces whose last search failed.
pub(super) fn unavailable_marketplaces(missing: Missing) -> Vec<UnavailableMarketplace> {
    let convert = |missing: MissingMarketplace| UnavailableMarketplace {
        marketplace: missing.name,
        why: missing.why,
        since: time(missing.since_unix_millis),
    };
    missing.marketplaces.into_iter().map(convert).collect()
}

fn time(unix_millis: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_millis).unwrap_or_default()
}

impl From<Status> for OffersError {
    fn from(status: Status) -> Self {
        // A warning only, since the wishlist works without offers.
        tracing::warn!(error = &status as &dyn Error, "call to offers failed");
        match status.code() {
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

impl From<OffersError> for Problem {
    fn from(error: OffersError) -> Self {
        let status = match error {
            OffersError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            OffersError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            OffersError::Failed => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}
