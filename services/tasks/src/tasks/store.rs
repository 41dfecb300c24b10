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
    /// The kind of store, for responses and attributes.
    fn kind(&self) -> Kind;

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

/// The kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    InProcess,
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
    #[error("Redis at {server} cannot be reached; try again in a moment")]
    Unavailable {
        server: String,
        source: ::redis::RedisError,
    },
    #[error("Redis at {server} did not respond in time; try again in a moment")]
    Timeout { server: String },
    #[error("Redis at {server} does not accept commands now: {reply}")]
    Refused {
        server: String,
        reply: ::redis::RedisError,
    },
    #[error("Redis at {server} failed: {reply}")]
    Failed {
        server: String,
        reply: ::redis::RedisError,
    },
    #[error("task:{id} in Redis is not a valid task: {reason}")]
    InvalidTask { id: Uuid, reason: String },
}

impl Kind {
    /// The name in responses and in the attribute `spoor.tasks.store`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::InProcess => "in-process",
        }
    }
}

impl StoreError {
    /// True if the same request may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::Refused { .. }
        )
    }
}
