//! The store of wishes, in SQLite or Postgres.

mod open;
mod url;

use std::sync::Arc;

use spoor_proto::spoor::wishlist::v1::Wish;
use spoor_telemetry::database::{self, Statement};
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

use crate::WishName;

pub use open::OpenDatabaseError;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// The most wishes stored, so that all fit on one page and in one gRPC message.
pub const MAX_WISHES: u16 = 1000;

// One statement instead of two. In SQLite it is atomic; in Postgres, concurrent requests may exceed the
// limit by a few.
const ADD: &str = "INSERT INTO wishes (id, name, created_unix_millis) \
    SELECT $1, $2, $3 WHERE (SELECT count(*) FROM wishes) < $4";
const DELETE: &str = "DELETE FROM wishes WHERE id = $1";
// By position instead of time, since clocks differ between replicas.
const LIST: &str = "SELECT id, name, created_unix_millis FROM wishes ORDER BY position DESC";

/// The store. Clones share the connection pool.
#[derive(Clone, Debug)]
pub struct WishStore {
    pool: Pool,
    /// The database's host; `None` if it is in this process.
    server: Option<Arc<str>>,
}

/// The columns of [`LIST`].
type Row = (String, String, i64);

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The error of an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there are {MAX_WISHES} wishes, which is the limit; delete one first")]
    Full,
    #[error("cannot {0}")]
    Failed(&'static str, #[source] sqlx::Error),
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
                    .bind(i64::from(MAX_WISHES))
                    .execute(pool)
                    .await
                    .map(|done| done.rows_affected())
            })
        };
        let added = database::observe(statement, self.span("INSERT wishes", ADD)).await;
        if added.map_err(failed("add a wish"))? == 0 {
            Err(StoreError::Full)
        } else {
            Ok(wish)
        }
    }

    /// Deletes a wish. Returns false if it does not exist.
    pub(crate) async fn delete(&self, id: Uuid) -> Result<bool, StoreError> {
        let id = id.to_string();
        let statement = async {
            with_pool!(self, pool => {
                sqlx::query(DELETE).bind(id).execute(pool).await.map(|done| done.rows_affected())
            })
        };
        let deleted = database::observe(statement, self.span("DELETE wishes", DELETE)).await;
        Ok(deleted.map_err(failed("delete a wish"))? > 0)
    }

    /// Lists all wishes, newest first.
    pub(crate) async fn list(&self) -> Result<Vec<Wish>, StoreError> {
        let statement = async {
            with_pool!(self, pool => sqlx::query_as::<_, Row>(LIST).fetch_all(pool).await)
        };
        let listed = database::observe(statement, self.span("SELECT wishes", LIST)).await;
        let wish = |(id, name, created_unix_millis)| Wish {
            id,
            name,
            created_unix_millis,
        };
        let rows = listed.map_err(failed("list the wishes"))?;
        Ok(rows.into_iter().map(wish).collect())
    }

    /// Closes all connections once their statements are finished.
    pub(crate) async fn close(&self) {
        with_pool!(self, pool => pool.close().await);
    }

    fn span(&self, summary: &'static str, text: &'static str) -> tracing::Span {
        Statement {
            // `db.system.name` of OpenTelemetry's semantic conventions.
            system: match self.pool {
                Pool::Sqlite(_) => "sqlite",
                Pool::Postgres(_) => "postgresql",
            },
            summary,
            text,
            server: self.server.as_deref(),
            ..Statement::default()
        }
        .span()
    }
}

fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| StoreError::Failed(operation, error)
}
