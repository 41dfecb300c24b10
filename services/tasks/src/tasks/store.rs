//! The task store: in Redis or in memory.

mod in_process;
mod redis;

use std::sync::Arc;

use futures_util::future::BoxFuture;
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

/// The future of a store's operation. It is boxed, since `dyn TaskStore` cannot have `async fn`.
pub(crate) type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A store of tasks. Operations are atomic, and each has a span of its own.
pub(crate) trait TaskStore: Send + Sync {
    /// The name in responses, metrics and the attribute `spoor.tasks.store`.
    fn name(&self) -> &'static str;

    /// Adds an open task.
    fn create<'a>(&'a self, task: &'a Task) -> StoreFuture<'a, ()>;

    /// Gets a task, if it exists.
    fn get(&self, id: Uuid) -> StoreFuture<'_, Option<Task>>;

    /// Lists tasks up to a limit: open ones by [`Task::rank`], then completed ones, newest first.
    fn list(&self, filter: Filter, limit: usize) -> StoreFuture<'_, Vec<Task>>;

    /// Completes a task, unless it is completed already. `None` if it does not exist.
    fn complete(&self, id: Uuid, now: Moment) -> StoreFuture<'_, Option<Completed>>;

    /// Deletes a task. False if it does not exist.
    fn delete(&self, id: Uuid) -> StoreFuture<'_, bool>;

    /// Counts the tasks. This has no span, since it is not part of a request.
    fn count(&self, now: Moment) -> StoreFuture<'_, TaskCounts>;
}

/// The tasks to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Filter {
    #[default]
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

impl StoreError {
    /// True if the same request may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(..) | Self::Timeout(_) | Self::Refused(..)
        )
    }
}
