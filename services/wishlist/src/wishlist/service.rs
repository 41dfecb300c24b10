//! `spoor.wishlist.v1.Wishlist` on the store.

use spoor_proto::spoor::wishlist::v1::{
    AddRequest, DeleteReply, DeleteRequest, ListReply, ListRequest, Wish, wishlist_server::Wishlist,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::store::{self, StoreError, WishStore};
use crate::WishName;

/// The gRPC service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) store: WishStore,
}

#[tonic::async_trait]
impl Wishlist for Service {
    async fn add(&self, request: Request<AddRequest>) -> Result<Response<Wish>, Status> {
        let name = WishName::new(&request.get_ref().name)
            .map_err(|error| Status::invalid_argument(format!("name: {error}")))?;
        let wish = self
            .store
            .add(&name)
            .await
            .map_err(|error| status(&error))?;
        tracing::info!(wish.id = wish.id, "wish added");
        Ok(Response::new(message(wish)))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteReply>, Status> {
        let unknown = || Status::not_found("no wish with this ID");
        // No wish has an ID that is not a UUID.
        let id = Uuid::parse_str(&request.get_ref().id).map_err(|_| unknown())?;
        if !self
            .store
            .delete(id)
            .await
            .map_err(|error| status(&error))?
        {
            return Err(unknown());
        }
        tracing::info!(wish.id = %id, "wish deleted");
        Ok(Response::new(DeleteReply {}))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let wishes = self.store.list().await.map_err(|error| status(&error))?;
        Ok(Response::new(ListReply {
            wishes: wishes.into_iter().map(message).collect(),
        }))
    }
}

fn message(wish: store::Wish) -> Wish {
    let store::Wish {
        id,
        name,
        created_unix_millis,
    } = wish;
    Wish {
        id,
        name,
        created_unix_millis,
    }
}

/// The status for the caller. The database's own message is only in the span and the log.
fn status(error: &StoreError) -> Status {
    match error {
        StoreError::Full => Status::resource_exhausted(error.to_string()),
        StoreError::Add(source) | StoreError::Delete(source) | StoreError::List(source) => {
            match source {
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => {
                    Status::unavailable(format!("{error}: the database cannot be reached"))
                }
                _ => Status::internal(error.to_string()),
            }
        }
    }
}
