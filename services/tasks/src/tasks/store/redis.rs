//! A store in Redis, in a format that can be read with `redis-cli`:
//!
//! | key | content |
//! |---|---|
//! | `task:ID` | a hash of the task's fields, as text |
//! | `tasks:open` | the IDs of open tasks, by [`Task::rank`] |
//! | `tasks:due` | the IDs of open tasks with a due time, by that time in Unix milliseconds |
//! | `tasks:completed` | the IDs of completed tasks, by the time of completion |
//!
//! Changes of more than one key are scripts, which Redis runs atomically.

mod command;
mod connection;
mod fields;
mod url;

use std::{collections::HashMap, error::Error, time::Duration};

use async_trait::async_trait;
use redis::{RedisResult, Script, aio::ConnectionManager};
use uuid::Uuid;

use super::{Completed, Filter, MAX_COMPLETED, MAX_OPEN, StoreError, TaskCounts, TaskStore};
use crate::tasks::task::{Moment, Task};
use command::{CommandTelemetry, RedisCommand};
use connection::Connection;

pub use url::{InvalidRedisUrl, RedisUrl};

const OPEN: &str = "tasks:open";
const DUE: &str = "tasks:due";
const COMPLETED: &str = "tasks:completed";

type Fields = HashMap<String, String>;

/// A store in Redis, which need not be available all the time.
pub(crate) struct Redis {
    connection: Connection,
    telemetry: CommandTelemetry,
    // The scripts of the operations that change several keys, and of the one that lists tasks.
    create: Script,
    list: Script,
    complete: Script,
    delete: Script,
}

impl Redis {
    /// Creates a store. Must be called inside a Tokio runtime.
    pub(crate) fn new(url: &RedisUrl, deadline: Duration) -> RedisResult<Self> {
        Ok(Self {
            connection: Connection::new(url, deadline)?,
            telemetry: CommandTelemetry::of(url),
            // The client sends a script's hash, and its text when Redis does not know it, as after a restart.
            create: Script::new(include_str!("redis/create.lua")),
            list: Script::new(include_str!("redis/list.lua")),
            complete: Script::new(include_str!("redis/complete.lua")),
            delete: Script::new(include_str!("redis/delete.lua")),
        })
    }

    /// Registers the store's metrics.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.telemetry.register(registry);
    }

    async fn list_key(&self, ids: &str, from: &str, limit: usize) -> Result<Vec<Task>, StoreError> {
        let mut call = self.list.prepare_invoke();
        call.key(ids).key(DUE).arg(from).arg(limit);
        let invoke = async |redis: &mut _| call.invoke_async::<Vec<(String, Fields)>>(redis).await;
        let listed = self.run(RedisCommand::LIST, invoke).await?;
        Ok(listed.into_iter().filter_map(parse_listed).collect())
    }

    /// Runs a command, in a span of its own.
    async fn run<T>(
        &self,
        command: RedisCommand,
        run: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let run = self.connection.run(run);
        self.telemetry.observe(command, run).await
    }
}

#[async_trait]
impl TaskStore for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn create(&self, task: &Task) -> Result<(), StoreError> {
        let due = task.due.map(Moment::unix_millis);
        let mut call = self.create.prepare_invoke();
        call.key(key(task.id)).key(OPEN).key(DUE);
        call.arg(task.id.to_string()).arg(task.rank());
        call.arg(due.map(|due| due.to_string()).unwrap_or_default());
        call.arg(MAX_OPEN).arg(fields::of(task));
        let invoke = async |redis: &mut _| call.invoke_async(redis).await;
        match self.run(RedisCommand::CREATE, invoke).await? {
            true => Ok(()),
            false => Err(StoreError::Full),
        }
    }

    async fn get(&self, id: Uuid) -> Result<Option<Task>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(key(id));
        let query = async |redis: &mut _| command.query_async::<Fields>(redis).await;
        let fields = self.run(RedisCommand::GET, query).await?;
        // Redis has no empty hashes: this is a key that does not exist.
        (!fields.is_empty())
            .then(|| fields::read(id, &fields))
            .transpose()
    }

    async fn list(&self, filter: Filter, limit: usize) -> Result<Vec<Task>, StoreError> {
        let mut tasks = match filter {
            Filter::Open | Filter::All => self.list_key(OPEN, "first", limit).await?,
            Filter::Completed => Vec::new(),
        };
        // Two scripts: a task that is completed between them is listed twice.
        let left = limit.saturating_sub(tasks.len());
        if filter != Filter::Open && left > 0 {
            tasks.extend(self.list_key(COMPLETED, "last", left).await?);
        }
        Ok(tasks)
    }

    async fn complete(&self, id: Uuid, now: Moment) -> Result<Option<Completed>, StoreError> {
        let mut call = self.complete.prepare_invoke();
        call.key(key(id)).key(OPEN).key(DUE).key(COMPLETED);
        call.arg(id.to_string()).arg(now.to_string());
        call.arg(now.unix_millis()).arg(MAX_COMPLETED);
        let invoke = async |redis: &mut _| call.invoke_async(redis).await;
        let done: Option<(bool, usize, Fields)> = self.run(RedisCommand::COMPLETE, invoke).await?;
        done.map(|(is_new, evicted, fields)| {
            let task = fields::read(id, &fields)?;
            Ok(Completed {
                task,
                is_new,
                evicted,
            })
        })
        .transpose()
    }

    async fn delete(&self, id: Uuid) -> Result<bool, StoreError> {
        let mut call = self.delete.prepare_invoke();
        call.key(key(id)).key(OPEN).key(DUE).key(COMPLETED);
        call.arg(id.to_string());
        let invoke = async |redis: &mut _| call.invoke_async(redis).await;
        self.run(RedisCommand::DELETE, invoke).await
    }

    async fn count(&self, now: Moment) -> Result<TaskCounts, StoreError> {
        let mut counts = redis::pipe();
        counts.zcard(OPEN).zcard(COMPLETED);
        // `(` excludes the bound itself: a task is overdue after its due time.
        counts.zcount(DUE, "-inf", format!("({}", now.unix_millis()));
        let (open, completed, overdue) = self
            .connection
            .run(async |redis| counts.query_async(redis).await)
            .await?;
        Ok(TaskCounts {
            open,
            overdue,
            completed,
        })
    }
}

fn key(id: Uuid) -> String {
    format!("task:{id}")
}

/// Parses a listed task. One with invalid fields is skipped with a warning, so that the others are
/// listed.
fn parse_listed((id, fields): (String, Fields)) -> Option<Task> {
    // Other programs may have added members that are not IDs, which are skipped without a warning.
    let id = id.parse().ok()?;
    fields::read(id, &fields)
        .inspect_err(|error| {
            tracing::warn!(error = error as &dyn Error, "task skipped in list");
        })
        .ok()
}
