//! The store of wishes, in SQLite or Postgres.

mod open;
mod url;

use std::{sync::Arc, time::Duration};

use spoor_telemetry::database::{self, Statement};
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

use crate::WishName;

pub use open::OpenDatabaseError;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// The most wishes stored, so that all fit on one page and in one gRPC message.
pub const MAX_WISHES: i64 = 1000;

// One statement instead of two. In SQLite it is atomic; in Postgres, concurrent requests may exceed the
// limit by a few.
const ADD: &str = "INSERT INTO wishes (id, name, created_unix_millis) \
    SELECT $1, $2, $3 WHERE (SELECT count(*) FROM wishes) < $4";
const DELETE: &str = "DELETE FROM wishes WHERE id = $1";
// By position instead of time, since clocks differ between replicas.
const LIST: &str = "SELECT id, name, created_unix_millis FROM wishes ORDER BY position DESC";

/// The limits of the connection pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) acquire: Duration,
}

/// The store. Clones share the connection pool.
#[derive(Clone, Debug)]
pub struct WishStore {
    pool: Pool,
    /// The database's host; `None` if it is in this process.
    server: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A stored wish.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Wish {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_unix_millis: i64,
}

/// The error of an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there are {MAX_WISHES} wishes, which is the limit; delete one first")]
    Full,
    #[error("cannot add a wish")]
    Add(#[source] sqlx::Error),
    #[error("cannot delete a wish")]
    Delete(#[source] sqlx::Error),
    #[error("cannot list the wishes")]
    List(#[source] sqlx::Error),
}

/// Evaluates an expression for either database, since the types of the pools differ.
macro_rules! with_pool {
    ($store:expr, $pool:ident => $run:expr) => {
        match &$store.pool {
            Pool::Sqlite($pool) => $run,
            Pool::Postgres($pool) => $run,
        }
    };
}

impl WishStore {
    /// Adds a wish with a new ID.
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
                    .bind(MAX_WISHES)
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

    /// Deletes a wish. False if it does not exist.
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

    /// Lists all wishes, newest first.
    pub(crate) async fn list(&self) -> Result<Vec<Wish>, StoreError> {
        let statement =
            async { with_pool!(self, pool => sqlx::query_as(LIST).fetch_all(pool).await) };
        let listed = database::observed(statement, self.span("SELECT wishes", LIST)).await;
        listed.map_err(StoreError::List)
    }

    /// Closes all connections once their statements are finished.
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
