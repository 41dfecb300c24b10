//! A client of wishlist, with deadlines and errors for users.

use std::{error::Error, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use spoor_proto::spoor::wishlist::v1::{self, AddRequest, DeleteRequest, ListRequest};
use spoor_telemetry::http::Problem;
use tonic::{Code, Request, Response, Status};

use super::Client;
use crate::{InvalidWishName, WishName};

/// A client of wishlist.
#[derive(Clone)]
pub(super) struct Wishes {
    pub(super) client: Client,
    pub(super) deadline: Duration,
}

/// A wish in a response.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Wish {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(serialize_with = "as_text")]
    pub(super) created: Timestamp,
}

/// The error of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("name: {0}")]
    Name(#[from] InvalidWishName),
    #[error("no wish with this ID")]
    Unknown,
    #[error("{0}")]
    Full(String),
    #[error("the wishlist cannot be reached; try again in a moment")]
    Away,
    #[error("the wishlist did not respond in time")]
    Late,
    #[error("the wishlist failed: {0}")]
    Broken(String),
}

impl Wishes {
    pub(super) async fn add(self, name: &WishName) -> Result<Wish, Failure> {
        let message = AddRequest {
            name: name.as_str().to_owned(),
        };
        let (request, mut client) = (self.request(message), self.client);
        call(self.deadline, client.add(request))
            .await
            .and_then(Wish::try_from)
    }

    pub(super) async fn delete(self, id: &str) -> Result<(), Failure> {
        let message = DeleteRequest { id: id.to_owned() };
        let (request, mut client) = (self.request(message), self.client);
        call(self.deadline, client.delete(request))
            .await
            .map(|_| ())
    }

    /// Lists the wishes, newest first.
    pub(super) async fn list(self) -> Result<Vec<Wish>, Failure> {
        let (request, mut client) = (self.request(ListRequest {}), self.client);
        let reply = call(self.deadline, client.list(request)).await?;
        reply.wishes.into_iter().map(Wish::try_from).collect()
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
    }
}

/// Awaits a call within the deadline, which the channel's own timeout does not apply to connecting.
async fn call<M>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<M>, Status>>,
) -> Result<M, Failure> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_elapsed) => Err(Failure::Late),
    }
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Full(_) => StatusCode::CONFLICT,
            Self::Away => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::new(failure.status(), failure.to_string())
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::NotFound => return Self::Unknown,
            Code::ResourceExhausted => return Self::Full(status.message().to_owned()),
            _ => {}
        }
        tracing::error!(error = &status as &dyn Error, "call to wishlist failed");
        match status.code() {
            Code::Unavailable => Self::Away,
            Code::DeadlineExceeded | Code::Cancelled => Self::Late,
            _ => Self::Broken(status.message().to_owned()),
        }
    }
}

impl TryFrom<v1::Wish> for Wish {
    type Error = Failure;

    fn try_from(wish: v1::Wish) -> Result<Self, Failure> {
        let created = Timestamp::from_millisecond(wish.created_unix_millis)
            .map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(Self {
            id: wish.id,
            name: wish.name,
            created,
        })
    }
}

/// Serializes a time in RFC 3339 format.
pub(super) fn as_text<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}
