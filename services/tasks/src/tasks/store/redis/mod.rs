//! The tasks in Redis, so that people can look at them with `redis-cli`:
//!
//! | key | what |
//! |---|---|
//! | `task:ID` | a hash of the task's fields, as text |
//! | `tasks:open` | the ids of open tasks in the order of [`Task::rank`] |
//! | `tasks:due` | those of them that have a time, by it, in Unix milliseconds |
//! | `tasks:completed` | the ids of completed tasks, by when that was |
//!
//! What changes more than one key is a script, which Redis runs whole or not at all.

mod connection;
mod fields;
mod operation;
mod url;

use std::{collections::HashMap, error::Error, time::Duration};

use redis::{RedisResult, Script};
use uuid::Uuid;

use super::{Answer, Census, Completed, Kind, MOST_COMPLETED, MOST_OPEN, Store, StoreError, Which};
use crate::tasks::task::{Moment, Task};
use connection::Connection;
use operation::{Operation, Operations};

pub use url::{InvalidRedisUrl, RedisUrl};

const OPEN: &str = "tasks:open";
const DUE: &str = "tasks:due";
const COMPLETED: &str = "tasks:completed";

type Fields = HashMap<String, String>;

/// The tasks in Redis; it may come later, and go and come back.
pub(crate) struct Redis {
    connection: Connection,
    operations: Operations,
    scripts: Scripts,
}

struct Scripts {
    create: Script,
    list: Script,
    complete: Script,
    delete: Script,
}

impl Redis {
    /// Keeps tasks there. Must be called inside a Tokio runtime.
    pub(crate) fn new(url: &RedisUrl, deadline: Duration) -> RedisResult<Self> {
        Ok(Self {
            connection: Connection::new(url, deadline)?,
            operations: Operations::of(url),
            scripts: Scripts {
                create: Script::new(include_str!("create.lua")),
                list: Script::new(include_str!("list.lua")),
                complete: Script::new(include_str!("complete.lua")),
                delete: Script::new(include_str!("delete.lua")),
            },
        })
    }

    /// Adds its metrics.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.operations.register(registry);
    }

    async fn list_one(
        &self,
        which: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Task>, StoreError> {
        let mut call = self.scripts.list.prepare_invoke();
        call.key(which).key(DUE).arg(from).arg(limit);
        let run = self
            .connection
            .run(async |redis| call.invoke_async::<Vec<(String, Fields)>>(redis).await);
        let found = self.operations.observed(Operation::LIST, run).await?;
        Ok(found.into_iter().filter_map(readable).collect())
    }
}

impl Store for Redis {
    fn kind(&self) -> Kind {
        Kind::Redis
    }

    fn create<'a>(&'a self, task: &'a Task) -> Answer<'a, ()> {
        Box::pin(async move {
            let due = task.due.map(Moment::unix_millis);
            let mut call = self.scripts.create.prepare_invoke();
            call.key(key(task.id)).key(OPEN).key(DUE);
            call.arg(task.id.to_string()).arg(task.rank());
            call.arg(due.map(|due| due.to_string()).unwrap_or_default());
            call.arg(MOST_OPEN).arg(fields::of(task));
            let run = self
                .connection
                .run(async |redis| call.invoke_async(redis).await);
            match self.operations.observed(Operation::CREATE, run).await? {
                true => Ok(()),
                false => Err(StoreError::Full),
            }
        })
    }

    fn get(&self, id: Uuid) -> Answer<'_, Option<Task>> {
        Box::pin(async move {
            let mut command = redis::cmd("HGETALL");
            command.arg(key(id));
            let run = self
                .connection
                .run(async |redis| command.query_async::<Fields>(redis).await);
            let fields = self.operations.observed(Operation::GET, run).await?;
            (!fields.is_empty())
                .then(|| fields::read(id, &fields))
                .transpose()
        })
    }

    fn list(&self, which: Which, limit: usize) -> Answer<'_, Vec<Task>> {
        Box::pin(async move {
            let mut tasks = match which {
                Which::Open | Which::All => self.list_one(OPEN, "first", limit).await?,
                Which::Completed => Vec::new(),
            };
            let left = limit.saturating_sub(tasks.len());
            if which != Which::Open && left > 0 {
                tasks.extend(self.list_one(COMPLETED, "last", left).await?);
            }
            Ok(tasks)
        })
    }

    fn complete(&self, id: Uuid, now: Moment) -> Answer<'_, Option<Completed>> {
        Box::pin(async move {
            let mut call = self.scripts.complete.prepare_invoke();
            call.key(key(id)).key(OPEN).key(DUE).key(COMPLETED);
            call.arg(id.to_string()).arg(now.to_string());
            call.arg(now.unix_millis()).arg(MOST_COMPLETED);
            let run = self.connection.run(async |redis| {
                call.invoke_async::<Option<(bool, usize, Fields)>>(redis)
                    .await
            });
            let done = self.operations.observed(Operation::COMPLETE, run).await?;
            let completed = |(just_now, given_up, fields): (bool, usize, Fields)| {
                let task = fields::read(id, &fields)?;
                Ok(Completed {
                    task,
                    just_now,
                    given_up,
                })
            };
            done.map(completed).transpose()
        })
    }

    fn delete(&self, id: Uuid) -> Answer<'_, bool> {
        Box::pin(async move {
            let mut call = self.scripts.delete.prepare_invoke();
            call.key(key(id)).key(OPEN).key(DUE).key(COMPLETED);
            call.arg(id.to_string());
            let run = self
                .connection
                .run(async |redis| call.invoke_async(redis).await);
            self.operations.observed(Operation::DELETE, run).await
        })
    }

    fn census(&self, now: Moment) -> Answer<'_, Census> {
        Box::pin(async move {
            let mut counts = redis::pipe();
            counts.zcard(OPEN).zcard(COMPLETED);
            counts.zcount(DUE, "-inf", format!("({}", now.unix_millis()));
            let (open, completed, overdue) = self
                .connection
                .run(async |redis| counts.query_async(redis).await)
                .await?;
            Ok(Census {
                open,
                overdue,
                completed,
            })
        })
    }
}

fn key(id: Uuid) -> String {
    format!("task:{id}")
}

/// One task that can't be read is not worth the others.
fn readable((id, fields): (String, Fields)) -> Option<Task> {
    let id = id.parse().ok()?;
    fields::read(id, &fields)
        .inspect_err(|error| {
            tracing::warn!(error = error as &dyn Error, "left out of the list");
        })
        .ok()
}
