//! A client of offers.

use std::{error::Error, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use spoor_proto::spoor::offers::v1::{
    ForgetRequest, Found, ListRequest, LookForRequest, Missing, MissingMarketplace, WatchReply,
    WatchRequest, offers_client::OffersClient,
};
use spoor_telemetry::{grpc::Channel, http::Problem};
use tonic::{Code, Request, Response, Status, Streaming};

use super::wishes::{Wish, as_text};

/// The longest that a page waits for offers, which it can be shown without.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// A client of offers.
#[derive(Clone)]
pub(super) struct Offers {
    client: OffersClient<Channel>,
    deadline: Duration,
}

/// The known offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Listing {
    /// The offers, cheapest first.
    pub(super) offers: Vec<Offer>,
    /// The marketplaces that did not respond.
    pub(super) missing: Vec<Absent>,
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
    #[serde(serialize_with = "as_text")]
    pub(super) found: Timestamp,
}

/// A marketplace that did not respond to the last search.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Absent {
    pub(super) marketplace: String,
    pub(super) why: String,
    #[serde(serialize_with = "as_text")]
    pub(super) since: Timestamp,
}

/// The reason why offers are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    #[error("offers cannot be reached; the wishlist works without it")]
    Away,
    #[error("offers did not respond in time; the wishlist works without it")]
    Late,
    #[error("offers failed; the wishlist works without it")]
    Broken,
}

impl Offers {
    pub(super) fn new(channel: Channel, deadline: Duration) -> Self {
        Self {
            client: OffersClient::new(channel),
            deadline: deadline.min(MAX_DEADLINE),
        }
    }

    /// Requests a search for a new wish. A failure is ignored, since the next round includes the wish.
    pub(super) async fn look_for(&self, wish: &Wish) {
        let message = LookForRequest {
            wish_id: wish.id.clone(),
            what: wish.name.clone(),
        };
        let (request, mut client) = (self.request(message), self.client.clone());
        // A failure is logged and recorded in the trace.
        let _ = self.answered(client.look_for(request)).await;
    }

    /// Requests that a wish's offers are removed. A failure is ignored, since the next round does it.
    pub(super) async fn forget(&self, id: &str) {
        let message = ForgetRequest {
            wish_id: id.to_owned(),
        };
        let (request, mut client) = (self.request(message), self.client.clone());
        // A failure is logged and recorded in the trace.
        let _ = self.answered(client.forget(request)).await;
    }

    pub(super) async fn list(&self) -> Result<Listing, Unknown> {
        let (request, mut client) = (self.request(ListRequest {}), self.client.clone());
        let reply = self.answered(client.list(request)).await?;
        let mut offers = reply.offers;
        offers.sort_by_key(|found| found.offer.as_ref().map(|offer| offer.price_hundredths));
        Ok(Listing {
            offers: offers.into_iter().filter_map(Offer::new).collect(),
            missing: absent(reply.missing.unwrap_or_default()),
        })
    }

    /// Opens a stream of events from now on. The stream itself has no deadline.
    pub(super) async fn watch(&self) -> Result<Streaming<WatchReply>, Unknown> {
        let mut client = self.client.clone();
        let request = Request::new(WatchRequest {});
        self.answered(client.watch(request)).await
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
    }

    async fn answered<M>(
        &self,
        call: impl Future<Output = Result<Response<M>, Status>>,
    ) -> Result<M, Unknown> {
        // The channel's own timeout does not cover connecting.
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err((&status).into()),
            Err(elapsed) => {
                tracing::warn!(error = &elapsed as &dyn Error, "call to offers timed out");
                Err(Unknown::Late)
            }
        }
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

/// The marketplaces that are missing.
pub(super) fn absent(missing: Missing) -> Vec<Absent> {
    let absent = |missing: MissingMarketplace| Absent {
        marketplace: missing.name,
        why: missing.why,
        since: time(missing.since_unix_millis),
    };
    missing.marketplaces.into_iter().map(absent).collect()
}

fn time(unix_millis: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_millis).unwrap_or_default()
}

impl Unknown {
    fn status(self) -> StatusCode {
        match self {
            Self::Away => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken => StatusCode::BAD_GATEWAY,
        }
    }
}

impl From<&Status> for Unknown {
    fn from(status: &Status) -> Self {
        tracing::warn!(error = status as &dyn Error, "call to offers failed");
        match status.code() {
            Code::Unavailable => Self::Away,
            Code::DeadlineExceeded | Code::Cancelled => Self::Late,
            _ => Self::Broken,
        }
    }
}

impl From<Unknown> for Problem {
    fn from(unknown: Unknown) -> Self {
        Self::new(unknown.status(), unknown.to_string())
    }
}
