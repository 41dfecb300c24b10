//! `spoor.wishlist.v1.Wishlist` on the store.

use spoor_proto::spoor::wishlist::v1::{
    AddRequest, DeleteReply, DeleteRequest, ListReply, ListRequest, Wish, wishlist_server::Wishlist,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::store::{StoreError, WishStore};
use crate::WishName;

/// The gRPC service.
#[derive(Clone, Debug)]
pub(super) struct Service(pub(super) WishStore);

#[tonic::async_trait]
impl Wishlist for Service {
    async fn add(&self, request: Request<AddRequest>) -> Result<Response<Wish>, Status> {
        let name = WishName::new(&request.get_ref().name)
            .map_err(|error| Status::invalid_argument(format!("name: {error}")))?;
        let wish = self.0.add(&name).await?;
        tracing::debug!(wish.id = wish.id, "wish added");
        Ok(Response::new(wish))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteReply>, Status> {
        let unknown = || Status::not_found("no wish with this ID");
        // No wish has an ID that is not a UUID.
        let id = Uuid::parse_str(&request.get_ref().id).map_err(|_| unknown())?;
        if !self.0.delete(id).await? {
            return Err(unknown());
        }
        tracing::debug!(wish.id = %id, "wish deleted");
        Ok(Response::new(DeleteReply {}))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let wishes = self.0.list().await?;
        Ok(Response::new(ListReply { wishes }))
    }
}

/// The status for the caller. The database's own message is only in the span and the log.
impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::resource_exhausted(error.to_string()),
            StoreError::Failed(
                _,
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            ) => Self::unavailable(format!("{error}: the database cannot be reached")),
            StoreError::Failed(..) => Self::internal(error.to_string()),
        }
    }
}
