//! wishlist: keeps the wishes in a database and answers over gRPC.

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
    serve::{GRACE, Grpc, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use service::Service;
use store::Limits;

pub use store::{DatabaseUrl, InvalidDatabaseUrl, MOST_WISHES, OpenError, Store};

/// What can be set about wishlist.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where the wishes are kept: sqlite::memory: (gone at the end), sqlite:wishes.db (made when
    /// missing) or postgres://user@host/database.
    #[arg(
        long,
        env = "SPOOR_DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite::memory:",
        hide_env_values = true
    )]
    pub database_url: DatabaseUrl,
    /// The most connections to the database at once.
    #[arg(
        long,
        env = "SPOOR_DATABASE_CONNECTIONS",
        value_name = "NUMBER",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub database_connections: u32,
    /// How long a request waits for a free connection, such as 2s, and the start for the database.
    #[arg(
        long,
        env = "SPOOR_DATABASE_DEADLINE",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = parse_deadline
    )]
    pub database_deadline: Duration,
}

/// Why wishlist doesn't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A port, or the serving itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Program for Args {
    type Error = RunError;

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
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
        store.close().await;
        Ok(served?)
    }
}

impl Args {
    /// Opens the database.
    ///
    /// # Errors
    /// [`OpenError`] names the database that can't be had.
    pub async fn open(&self) -> Result<Store, OpenError> {
        let limits = Limits {
            connections: self.database_connections,
            acquire: self.database_deadline,
        };
        let store = Store::open(&self.database_url, limits).await?;
        tracing::info!(database = %self.database_url, "the wishes are kept here");
        Ok(store)
    }
}
