//! wishlist: keeps the wishes in a database and answers over gRPC.

mod service;
mod store;

use std::{net::SocketAddr, time::Duration};

use spoor_proto::{
    DESCRIPTORS,
    spoor::wishlist::v1::wishlist_server::{SERVICE_NAME, WishlistServer},
};
use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    serve::{GRACE, Grpc, Ports, ServeError},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use service::Service;
use store::{Limits, Store};

pub use store::{DatabaseUrl, InvalidDatabaseUrl, MOST_WISHES, OpenError};

/// What can be set about wishlist.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens for gRPC; port 0 takes any free one.
    #[arg(
        long,
        env = "SPOOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9002"
    )]
    pub listen: SocketAddr,
    /// Where it listens for /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "SPOOR_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9467"
    )]
    pub ops_listen: SocketAddr,
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

/// wishlist with its ports taken and its database open.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    /// Where it listens.
    pub ports: Ports,
}

/// Runs wishlist until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    Keeper::open(args).await?.serve(&telemetry, shutdown).await
}

impl Keeper {
    /// Takes its ports and opens its database.
    ///
    /// # Errors
    /// [`RunError`] names the port or the database that can't be had.
    pub async fn open(args: Args) -> Result<Self, RunError> {
        let ports = Ports::take(args.listen, args.ops_listen).await?;
        let Args {
            database_connections: connections,
            database_deadline: acquire,
            ..
        } = args;
        let store = Store::open(
            &args.database_url,
            Limits {
                connections,
                acquire,
            },
        )
        .await?;
        tracing::info!(database = %args.database_url, "the wishes are kept here");
        Ok(Self { store, ports })
    }

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let service = Service {
            store: self.store.clone(),
        };
        let server = Grpc {
            routes: Routes::new(WishlistServer::new(service)),
            services: vec![SERVICE_NAME],
            descriptors: DESCRIPTORS,
            grace: GRACE,
        };
        let served = self.ports.serve_grpc(server, telemetry, shutdown).await;
        self.store.close().await;
        Ok(served?)
    }
}
