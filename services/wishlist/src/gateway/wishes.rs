//! A client of wishlist, with deadlines and errors for users.

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
use spoor_proto::spoor::wishlist::v1::{self, AddRequest, DeleteRequest, ListRequest};
use spoor_telemetry::{InvalidLine, grpc::within, http::Problem};
use tonic::{Code, Status};

use super::Client;
use crate::WishName;

/// A client of wishlist.
#[derive(Clone)]
pub(super) struct Wishes {
    pub(super) client: Client,
    pub(super) deadline: Duration,
    /// The number of wishes in the last list.
    pub(super) last_len: Arc<AtomicU32>,
}

/// A wish in a response.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Wish {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: Timestamp,
}

/// The error of a call to wishlist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WishError {
    #[error("name: {0}")]
    Name(#[from] InvalidLine),
    #[error("no wish with this ID")]
    NotFound,
    #[error("{0}")]
    Full(String),
    #[error("the wishlist cannot be reached; try again in a moment")]
    Unavailable,
    #[error("the wishlist did not respond in time")]
    TimedOut,
    #[error("the wishlist failed: {0}")]
    Failed(String),
}

impl Wishes {
    pub(super) async fn add(mut self, name: &WishName) -> Result<Wish, WishError> {
        let message = AddRequest {
            name: name.as_str().to_owned(),
        };
        let add = async |request| self.client.add(request).await;
        Wish::of(within(self.deadline, message, add).await?)
    }

    pub(super) async fn delete(mut self, id: &str) -> Result<(), WishError> {
        let message = DeleteRequest { id: id.to_owned() };
        let delete = async |request| self.client.delete(request).await;
        within(self.deadline, message, delete).await?;
        Ok(())
    }

    /// Lists the wishes, newest first.
    pub(super) async fn list(mut self) -> Result<Vec<Wish>, WishError> {
        let list = async |request| self.client.list(request).await;
        let reply = within(self.deadline, ListRequest {}, list).await?;
        let len = u32::try_from(reply.wishes.len()).unwrap_or(u32::MAX);
        self.last_len.store(len, Relaxed);
        reply.wishes.into_iter().map(Wish::of).collect()
    }
}

impl WishError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Full(_) => StatusCode::CONFLICT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<WishError> for Problem {
    fn from(failure: WishError) -> Self {
        Self::new(failure.status(), failure.to_string())
    }
}

impl From<Status> for WishError {
    fn from(status: Status) -> Self {
        let failure = match status.code() {
            // Caused by the user, so they are not logged as errors.
            Code::NotFound => return Self::NotFound,
            Code::ResourceExhausted => return Self::Full(status.message().to_owned()),
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            _ => Self::Failed(status.message().to_owned()),
        };
        tracing::error!(error = &status as &dyn Error, "call to wishlist failed");
        failure
    }
}

impl Wish {
    fn of(wish: v1::Wish) -> Result<Self, WishError> {
        let created = Timestamp::from_millisecond(wish.created_unix_millis)
            .map_err(|error| WishError::Failed(error.to_string()))?;
        Ok(Self {
            id: wish.id,
            name: wish.name,
            created,
        })
    }
}
