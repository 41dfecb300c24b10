//! Where the tasks are kept: in Redis, or in this process.

mod in_process;
mod redis;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::task::{Moment, Task};

pub use self::redis::{InvalidRedisUrl, RedisUrl};
pub(crate) use self::{in_process::InProcess, redis::Redis};

/// Open tasks at once.
pub(crate) const MOST_OPEN: usize = 1000;
/// Completed tasks that are kept: the newest.
pub(crate) const MOST_COMPLETED: usize = 1000;

/// What the tasks are kept in, whichever it is.
pub(crate) type SharedStore = Arc<dyn Store>;

/// A store's answer, once it is there.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps tasks. Each operation happens whole or not at all, and is a span of its own.
pub(crate) trait Store: Send + Sync {
    /// What it is, for people and for attributes.
    fn kind(&self) -> Kind;

    /// Adds a task that is open.
    fn create<'a>(&'a self, task: &'a Task) -> Answer<'a, ()>;

    /// The task of this id, if there is one.
    fn get(&self, id: Uuid) -> Answer<'_, Option<Task>>;

    /// So many tasks at most: open ones by [`Task::rank`], then completed ones, the newest
    /// first.
    fn list(&self, which: Which, limit: usize) -> Answer<'_, Vec<Task>>;

    /// Says that a task is done now, unless it was before; none when there is no such task.
    fn complete(&self, id: Uuid, now: Moment) -> Answer<'_, Option<Completed>>;

    /// Whether there was such a task.
    fn delete(&self, id: Uuid) -> Answer<'_, bool>;

    /// How many there are. No span: nobody's request asks for it.
    fn census(&self, now: Moment) -> Answer<'_, Census>;
}

/// What a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    InProcess,
}

/// Which tasks are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    #[default]
    Open,
    Completed,
    All,
}

/// A task that is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) task: Task,
    /// By this request, and not before it.
    pub(crate) just_now: bool,
    /// Older completed tasks that were given up for it.
    pub(crate) given_up: usize,
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) open: u64,
    pub(crate) overdue: u64,
    pub(crate) completed: u64,
}

/// Why a store did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there are {MOST_OPEN} open tasks already: complete or delete one first")]
    Full,
    #[error("Redis at {server} can't be reached; try again in a moment")]
    Away {
        server: String,
        source: ::redis::RedisError,
    },
    #[error("Redis at {server} did not answer in time; try again in a moment")]
    Late { server: String },
    #[error("Redis at {server} does not take requests now: {answer}")]
    Refused {
        server: String,
        answer: ::redis::RedisError,
    },
    #[error("Redis at {server} failed: {answer}")]
    Failed {
        server: String,
        answer: ::redis::RedisError,
    },
    #[error("what Redis holds at task:{id} is no task: {reason}")]
    NoTask { id: Uuid, reason: String },
}

impl Kind {
    /// For people, and `spoor.tasks.store`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::InProcess => "in-process",
        }
    }
}

impl StoreError {
    /// Whether the same request may well succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Away { .. } | Self::Late { .. } | Self::Refused { .. }
        )
    }
}
