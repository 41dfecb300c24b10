//! Where the wishes are kept: SQLite or Postgres, by the database's URL.

mod open;
mod url;

use std::{sync::Arc, time::Duration};

use spoor_telemetry::database::{self, Statement};
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

use crate::WishName;

pub use open::OpenError;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// The most wishes that are kept: all of them fit one page and one gRPC message.
pub const MOST_WISHES: i64 = 1000;

const ADD: &str = "INSERT INTO wishes (id, name, created_unix_millis) \
    SELECT $1, $2, $3 WHERE (SELECT count(*) FROM wishes) < $4";
const DELETE: &str = "DELETE FROM wishes WHERE id = $1";
const LIST: &str = "SELECT id, name, created_unix_millis FROM wishes ORDER BY position DESC";

/// How many connections, and how long one is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) acquire: Duration,
}

/// The wishes in a database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    /// None: the database is in this process.
    server: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A wish as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Wish {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_unix_millis: i64,
}

/// Why the database did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there are {MOST_WISHES} wishes already: delete one first")]
    Full,
    #[error("can't add a wish")]
    Add(#[source] sqlx::Error),
    #[error("can't delete a wish")]
    Delete(#[source] sqlx::Error),
    #[error("can't list the wishes")]
    List(#[source] sqlx::Error),
}

/// The same expression for either database; only the pool's type differs.
macro_rules! with_pool {
    ($store:expr, $pool:ident => $run:expr) => {
        match &$store.pool {
            Pool::Sqlite($pool) => $run,
            Pool::Postgres($pool) => $run,
        }
    };
}

impl Store {
    /// Adds a wish under a new id.
    pub(crate) async fn add(&self, name: &WishName) -> Result<Wish, StoreError> {
        let wish = Wish {
            id: Uuid::new_v4().to_string(),
            name: name.as_str().to_owned(),
            created_unix_millis: jiff::Timestamp::now().as_millisecond(),
        };
        let statement = async {
            with_pool!(self, pool => {
                sqlx::query(ADD)
                    .bind(&wish.id)
                    .bind(&wish.name)
                    .bind(wish.created_unix_millis)
                    .bind(MOST_WISHES)
                    .execute(pool)
                    .await
                    .map(|done| done.rows_affected())
            })
        };
        let added = database::observed(statement, self.span("INSERT wishes", ADD)).await;
        if added.map_err(StoreError::Add)? == 0 {
            Err(StoreError::Full)
        } else {
            Ok(wish)
        }
    }

    /// Whether the wish was there.
    pub(crate) async fn delete(&self, id: Uuid) -> Result<bool, StoreError> {
        let id = id.to_string();
        let statement = async {
            with_pool!(self, pool => {
                sqlx::query(DELETE).bind(id).execute(pool).await.map(|done| done.rows_affected())
            })
        };
        let deleted = database::observed(statement, self.span("DELETE wishes", DELETE)).await;
        Ok(deleted.map_err(StoreError::Delete)? > 0)
    }

    /// All wishes, the newest first.
    pub(crate) async fn list(&self) -> Result<Vec<Wish>, StoreError> {
        let statement =
            async { with_pool!(self, pool => sqlx::query_as(LIST).fetch_all(pool).await) };
        let listed = database::observed(statement, self.span("SELECT wishes", LIST)).await;
        listed.map_err(StoreError::List)
    }

    /// Ends every connection, once what runs on it is done.
    pub(crate) async fn close(&self) {
        with_pool!(self, pool => pool.close().await);
    }

    fn span(&self, summary: &'static str, text: &'static str) -> tracing::Span {
        let (system, server) = (self.pool.system(), self.server.as_deref());
        Statement {
            system,
            summary,
            text,
            server,
            ..Statement::default()
        }
        .span()
    }
}

impl Pool {
    /// `db.system.name` of OpenTelemetry's semantic conventions.
    fn system(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }
}
