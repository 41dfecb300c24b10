//! Opens a database and runs its migrations.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Database, Executor, PgPool, SqlitePool,
    migrate::{MigrateError, Migrator},
    pool::PoolOptions,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{DatabaseUrl, Pool, WishStore, url::Kind};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Tests whether the database is writable, without changing it.
const WRITE_PROBE: &str = "BEGIN; CREATE TABLE probe (field); ROLLBACK";

/// The error of opening a database. Its messages do not contain the password.
#[derive(Debug, thiserror::Error)]
pub enum OpenDatabaseError {
    /// The server cannot be reached or refuses the login, or the file's folder is missing.
    #[error("cannot open the database {0}")]
    Connect(String, #[source] sqlx::Error),
    /// The server did not respond in time.
    #[error("the database {0} did not respond within {1:?}")]
    TimedOut(String, Duration),
    /// The database is read-only.
    #[error("cannot write to the database {0}; its file and folder must be writable")]
    ReadOnly(String, #[source] sqlx::Error),
    /// The migrations failed.
    #[error("cannot migrate the database {0}")]
    Migrate(String, #[source] MigrateError),
}

impl WishStore {
    /// Opens the database, which must exist, except for a SQLite file, which is created.
    pub(crate) async fn open(
        url: &DatabaseUrl,
        max_connections: u32,
        acquire_timeout: Duration,
    ) -> Result<Self, OpenDatabaseError> {
        let database = url.to_string();
        let opening = Opening {
            database: &database,
            max_connections,
            acquire_timeout,
        };
        let (pool, server) = match url.0.clone() {
            Kind::Memory => (Pool::Sqlite(opening.memory().await?), None),
            Kind::Sqlite(options) => (Pool::Sqlite(opening.sqlite(options).await?), None),
            Kind::Postgres(options) => {
                let server = options.get_host().into();
                let pool = Pool::Postgres(opening.postgres(options).await?);
                (pool, Some(server))
            }
        };
        let migrated = match &pool {
            Pool::Sqlite(pool) => SQLITE.run(pool).await,
            Pool::Postgres(pool) => POSTGRES.run(pool).await,
        };
        migrated.map_err(opening.error(OpenDatabaseError::Migrate))?;
        Ok(Self { pool, server })
    }
}

struct Opening<'a> {
    database: &'a str,
    /// The limits of the connection pool.
    max_connections: u32,
    acquire_timeout: Duration,
}

impl Opening<'_> {
    /// Opens a database in memory, which exists as long as its only connection.
    async fn memory(&self) -> Result<SqlitePool, OpenDatabaseError> {
        let options = SqliteConnectOptions::new().in_memory(true);
        let limits = self.pool_options().max_connections(1).min_connections(1);
        let unlimited = limits.idle_timeout(None).max_lifetime(None);
        let pool = unlimited.connect_with(options).await;
        pool.map_err(self.error(OpenDatabaseError::Connect))
    }

    async fn sqlite(&self, options: SqliteConnectOptions) -> Result<SqlitePool, OpenDatabaseError> {
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL, this is safe when the process crashes; a crash of the machine can lose the last wishes.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(self.acquire_timeout)
            .disable_statement_logging();
        let pool = self.pool_options().connect_with(options).await;
        let pool = pool.map_err(self.error(OpenDatabaseError::Connect))?;
        // SQLite silently opens a database read-only if it cannot write to it.
        let written = pool.execute(WRITE_PROBE).await;
        written.map_err(self.error(OpenDatabaseError::ReadOnly))?;
        Ok(pool)
    }

    async fn postgres(&self, options: PgConnectOptions) -> Result<PgPool, OpenDatabaseError> {
        // Statements are in the traces already.
        let options = options.disable_statement_logging();
        self.test_connection(&options).await?;
        let pool = self.pool_options().connect_with(options).await;
        pool.map_err(self.error(OpenDatabaseError::Connect))
    }

    /// Connects once before the pool is created. A pool retries until its deadline and then does not
    /// report the cause, while a single connection reports it immediately.
    async fn test_connection(&self, options: &PgConnectOptions) -> Result<(), OpenDatabaseError> {
        let timeout = self.acquire_timeout;
        let connection = tokio::time::timeout(timeout, options.connect()).await;
        let timed_out = |_| OpenDatabaseError::TimedOut(self.database.to_owned(), timeout);
        let connection = connection
            .map_err(timed_out)?
            .map_err(self.error(OpenDatabaseError::Connect))?;
        let closed = connection.close().await;
        closed.map_err(self.error(OpenDatabaseError::Connect))
    }

    fn pool_options<DB: Database>(&self) -> PoolOptions<DB> {
        PoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.acquire_timeout)
    }

    /// Adds the database to a cause.
    fn error<E>(
        &self,
        variant: fn(String, E) -> OpenDatabaseError,
    ) -> impl FnOnce(E) -> OpenDatabaseError {
        move |cause| variant(self.database.to_owned(), cause)
    }
}
