//! A client of reviews.

use std::error::Error;

use futures_util::future::join_all;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use spoor_telemetry::http::{Peer, PeerCallError};
use uuid::Uuid;

/// The longest response accepted.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// A client of reviews.
#[derive(Clone)]
pub(super) struct Reviews(pub(super) Peer);

/// A review.
#[derive(Debug, Serialize)]
struct Review {
    uuid: Uuid,
    body: String,
}

/// The reviews that were available.
#[derive(Debug, Serialize)]
pub(super) struct Fetched {
    /// The reviews; `None` if none is available.
    reviews: Option<Vec<Review>>,
    /// The reason why some are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
}

/// The error of fetching a review.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("reviews is unavailable: {0}")]
    Call(#[from] PeerCallError),
    #[error("reviews is unavailable: HTTP status {0}")]
    Status(StatusCode),
    #[error("reviews is unavailable: the response is not a review")]
    Body(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Body {
    result: Text,
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

impl Reviews {
    /// Fetches reviews concurrently.
    pub(super) async fn fetch(&self, ids: [Uuid; 2]) -> Fetched {
        let results = join_all(ids.map(|id| self.fetch_one(id))).await;
        let mut reviews = Vec::with_capacity(ids.len());
        let mut degraded = None;
        for result in results {
            match result {
                Ok(review) => reviews.push(review),
                Err(missing) => {
                    tracing::warn!(error = &missing as &dyn Error, "review not available");
                    // The last reason is enough, since all reviews come from one service.
                    degraded = Some(missing.to_string());
                }
            }
        }
        Fetched {
            // An empty list would mean that the band has no reviews.
            reviews: (!reviews.is_empty()).then_some(reviews),
            degraded,
        }
    }

    async fn fetch_one(&self, uuid: Uuid) -> Result<Review, FetchError> {
        let path = format!("/reviews/{uuid}");
        let response = self.0.get(&path, MAX_RESPONSE_BYTES).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let parsed: Body = serde_json::from_slice(response.body())?;
        let body = parsed.result.body;
        Ok(Review { uuid, body })
    }
}
