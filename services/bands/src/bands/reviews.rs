//! The reviews of a band, as far as they can be had.

use std::error::Error;

use futures_util::future::join_all;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use spoor_telemetry::http::{CallError, Peer};

use crate::Id;

/// The longest answer that a review may be.
const MOST_BYTES: usize = 64 * 1024;

/// reviews, over HTTP.
#[derive(Clone)]
pub(super) struct Reviews(pub(super) Peer);

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Review {
    uuid: Id,
    body: String,
}

/// What could be had.
#[derive(Debug)]
pub(super) struct Found {
    /// None: not one.
    pub(super) reviews: Option<Vec<Review>>,
    /// Why not all.
    pub(super) degraded: Option<String>,
}

/// Why a review can't be had.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("reviews is unavailable: {0}")]
    Call(#[from] CallError),
    #[error("reviews is unavailable: it answered {0}")]
    Status(StatusCode),
    #[error("reviews is unavailable: its answer is no review")]
    Answer(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Answer {
    result: Written,
}

#[derive(Deserialize)]
struct Written {
    body: String,
}

impl Reviews {
    /// All of these, asked for at once.
    pub(super) async fn of(&self, ids: &[Id]) -> Found {
        let answers = join_all(ids.iter().map(|id| self.one(*id))).await;
        let mut reviews = Vec::with_capacity(ids.len());
        let mut degraded = None;
        for answer in answers {
            match answer {
                Ok(review) => reviews.push(review),
                Err(missing) => {
                    tracing::warn!(error = &missing as &dyn Error, "a review is missing");
                    degraded = Some(missing.to_string());
                }
            }
        }
        let none = reviews.is_empty() && degraded.is_some();
        Found {
            reviews: (!none).then_some(reviews),
            degraded,
        }
    }

    async fn one(&self, uuid: Id) -> Result<Review, Missing> {
        let answer = self.0.get(&format!("/reviews/{uuid}"), MOST_BYTES).await?;
        if answer.status() != StatusCode::OK {
            return Err(Missing::Status(answer.status()));
        }
        let Answer { result } = serde_json::from_slice(answer.body())?;
        let Written { body } = result;
        Ok(Review { uuid, body })
    }
}
