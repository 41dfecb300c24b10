//! The task store: in Redis or in memory.

mod in_process;
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::task::{Moment, Task};

pub use self::redis::{InvalidRedisUrl, RedisUrl};
pub(crate) use self::{in_process::InProcess, redis::Redis};

/// The most open tasks: as many as one request can list.
pub(crate) const MAX_OPEN: usize = 1000;
/// The most completed tasks that are kept. Older ones are evicted.
pub(crate) const MAX_COMPLETED: usize = 1000;

/// A store of any kind.
pub(crate) type SharedStore = Arc<dyn TaskStore>;

/// A store of tasks. Changes are atomic, and all operations except counting have spans of their own.
// The language's own `async fn` would not permit `dyn TaskStore`.
#[async_trait]
pub(crate) trait TaskStore: Send + Sync {
    /// The name in responses, metrics and the attribute `spoor.tasks.store`.
    fn name(&self) -> &'static str;

    /// Adds an open task.
    async fn create(&self, task: &Task) -> Result<(), StoreError>;

    /// Gets a task, if it exists.
    async fn get(&self, id: Uuid) -> Result<Option<Task>, StoreError>;

    /// Lists tasks up to a limit: open ones by [`Task::rank`], then completed ones, newest first.
    async fn list(&self, filter: Filter, limit: usize) -> Result<Vec<Task>, StoreError>;

    /// Completes a task, unless it is completed already. `None` if it does not exist.
    async fn complete(&self, id: Uuid, now: Moment) -> Result<Option<Completed>, StoreError>;

    /// Deletes a task. Returns false if it does not exist.
    async fn delete(&self, id: Uuid) -> Result<bool, StoreError>;

    /// Counts the tasks. This has no span, since it is usually not part of a request.
    async fn count(&self, now: Moment) -> Result<TaskCounts, StoreError>;
}

/// The tasks to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Open,
    Completed,
    All,
}

/// The result of completing a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) task: Task,
    /// True if this request completed it, and not an earlier one.
    pub(crate) is_new: bool,
    /// The number of older completed tasks that were evicted.
    pub(crate) evicted: usize,
}

/// The numbers of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskCounts {
    pub(crate) open: u64,
    pub(crate) overdue: u64,
    pub(crate) completed: u64,
}

/// The error of an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there are {MAX_OPEN} open tasks, which is the limit; complete or delete one first")]
    Full,
    #[error("Redis at {0} cannot be reached; try again in a moment")]
    Unavailable(String, #[source] ::redis::RedisError),
    #[error("Redis at {0} did not respond in time; try again in a moment")]
    Timeout(String),
    #[error("Redis at {0} currently refuses commands: {1}")]
    Refused(String, ::redis::RedisError),
    #[error("Redis at {0} failed: {1}")]
    Failed(String, ::redis::RedisError),
    #[error("task:{id} in Redis is not a valid task: {reason}")]
    InvalidTask { id: Uuid, reason: String },
}
