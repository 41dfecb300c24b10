//! wishlist: stores the wishes in a database and serves them over gRPC.

mod service;
mod store;

use std::time::Duration;

use spoor_proto::{
    DESCRIPTORS,
    spoor::wishlist::v1::wishlist_server::{SERVICE_NAME, WishlistServer},
};
use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    serve::{GRACE, Grpc, ListenAddresses, Program, ServeError, ServicePorts},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use service::Service;
use store::Limits;

pub use store::{DatabaseUrl, InvalidDatabaseUrl, MAX_WISHES, OpenDatabaseError, WishStore};

/// The settings of wishlist.
#[derive(clap::Args, Clone, Debug)]
pub struct WishlistArgs {
    /// The addresses to listen on.
    #[command(flatten)]
    pub listen: ListenAddresses,
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

    fn listen(&mut self) -> &mut ListenAddresses {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: ServicePorts,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), WishlistError> {
        let store = self.open().await?;
        let service = Service {
            store: store.clone(),
        };
        let server = Grpc {
            routes: Routes::new(WishlistServer::new(service)),
            services: vec![SERVICE_NAME],
            descriptors: DESCRIPTORS,
            grace: GRACE,
        };
        let served = ports.serve_grpc(server, telemetry, shutdown).await;
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
        let limits = Limits {
            connections: self.database_connections,
            acquire: self.database_deadline,
        };
        let store = WishStore::open(&self.database_url, limits).await?;
        tracing::info!(database = %self.database_url, "using database");
        Ok(store)
    }
}
