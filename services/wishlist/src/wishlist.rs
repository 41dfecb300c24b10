//! wishlist: stores the wishes in a database and serves them over gRPC.

mod service;
mod store;

use std::time::Duration;

use spoor_proto::{DESCRIPTORS, spoor::wishlist::v1::wishlist_server::WishlistServer};
use spoor_telemetry::{
    duration::parse_deadline,
    serve::{Grpc, MAX_SMALL_MESSAGE_BYTES, Program, ServeError, Server},
};

use service::Service;

pub use store::{DatabaseUrl, InvalidDatabaseUrl, MAX_WISHES, OpenDatabaseError, WishStore};

/// The settings of wishlist.
#[derive(clap::Args, Clone, Debug)]
pub struct WishlistArgs {
    /// Database for the wishes: sqlite::memory: (lost when the process ends), sqlite:wishes.db (created
    /// if missing) or postgres://user@host/database
    #[arg(
        long,
        env = "SPOOR_DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite::memory:",
        hide_env_values = true
    )]
    pub database_url: DatabaseUrl,
    /// Maximum number of database connections
    #[arg(
        long,
        env = "SPOOR_DATABASE_CONNECTIONS",
        value_name = "NUMBER",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub database_connections: u32,
    /// Maximum time to wait for a free connection, and at startup for the database, such as 2s
    #[arg(
        long,
        env = "SPOOR_DATABASE_DEADLINE",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = parse_deadline
    )]
    pub database_deadline: Duration,
}

/// The error of running wishlist.
#[derive(Debug, thiserror::Error)]
pub enum WishlistError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenDatabaseError),
    /// A port cannot be bound, or serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Program for WishlistArgs {
    type Error = WishlistError;

    async fn serve(self, server: Server) -> Result<(), WishlistError> {
        let store = self.open().await?;
        let service = WishlistServer::new(Service(store.clone()));
        let service = service.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES);
        let served = server.serve_grpc(Grpc::new(service, DESCRIPTORS)).await;
        // After the last request, so that its statements can finish.
        store.close().await;
        Ok(served?)
    }
}

impl WishlistArgs {
    /// Opens the database.
    ///
    /// # Errors
    /// [`OpenDatabaseError`] names the database.
    pub async fn open(&self) -> Result<WishStore, OpenDatabaseError> {
        let (connections, deadline) = (self.database_connections, self.database_deadline);
        let store = WishStore::open(&self.database_url, connections, deadline).await?;
        tracing::info!(database = %self.database_url, "using database");
        Ok(store)
    }
}
