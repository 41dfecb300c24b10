//! A store in memory.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use parking_lot::Mutex;
use tracing::info_span;
use uuid::Uuid;

use super::{Completed, Filter, MAX_COMPLETED, MAX_OPEN, StoreError, TaskCounts, TaskStore};
use crate::tasks::task::{Moment, Task};

const NAME: &str = "in-process";

/// A store in memory, with at most [`MAX_OPEN`] open and [`MAX_COMPLETED`] completed tasks.
#[derive(Debug, Default)]
pub(crate) struct InProcess(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    tasks: HashMap<Uuid, Task>,
    /// Open tasks in the order of their rank.
    open: BTreeSet<(i64, Uuid)>,
    /// Completed tasks, oldest first.
    completed: BTreeSet<(Moment, Uuid)>,
}

#[async_trait]
impl TaskStore for InProcess {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn create(&self, task: &Task) -> Result<(), StoreError> {
        self.run("INSERT", |tables| tables.create(task.clone()))
    }

    async fn get(&self, id: Uuid) -> Result<Option<Task>, StoreError> {
        Ok(self.run("SELECT", |tables| tables.tasks.get(&id).cloned()))
    }

    async fn list(&self, filter: Filter, limit: usize) -> Result<Vec<Task>, StoreError> {
        Ok(self.run("SELECT", |tables| tables.list(filter, limit)))
    }

    async fn complete(&self, id: Uuid, now: Moment) -> Result<Option<Completed>, StoreError> {
        Ok(self.run("UPDATE", |tables| tables.complete(id, now)))
    }

    async fn delete(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.run("DELETE", |tables| tables.delete(id)))
    }

    async fn count(&self, now: Moment) -> Result<TaskCounts, StoreError> {
        Ok(self.0.lock().count(now))
    }
}

impl InProcess {
    /// Runs an operation in a span with the semantic conventions' attributes for databases, but of
    /// kind internal, since no other process is involved.
    fn run<T>(&self, operation: &'static str, run: impl FnOnce(&mut Tables) -> T) -> T {
        let span = info_span!(
            "in-process store",
            otel.name = format!("{operation} tasks"),
            db.system.name = NAME,
            db.operation.name = operation,
            db.collection.name = "tasks",
        );
        span.in_scope(|| run(&mut self.0.lock()))
    }
}

impl Tables {
    fn create(&mut self, task: Task) -> Result<(), StoreError> {
        if self.open.len() >= MAX_OPEN {
            return Err(StoreError::Full);
        }
        self.open.insert((task.rank(), task.id));
        self.tasks.insert(task.id, task);
        Ok(())
    }

    fn list(&self, filter: Filter, limit: usize) -> Vec<Task> {
        let open = self.open.iter().map(|(_, id)| id);
        let completed = self.completed.iter().rev().map(|(_, id)| id);
        let ids: Box<dyn Iterator<Item = &Uuid>> = match filter {
            Filter::Open => Box::new(open),
            Filter::Completed => Box::new(completed),
            Filter::All => Box::new(open.chain(completed)),
        };
        ids.take(limit)
            .filter_map(|id| self.tasks.get(id).cloned())
            .collect()
    }

    fn complete(&mut self, id: Uuid, now: Moment) -> Option<Completed> {
        let task = self.tasks.get_mut(&id)?;
        let is_new = task.completed.is_none();
        if is_new {
            task.completed = Some(now);
            // The rank does not depend on the completion, so that it still identifies the entry.
            self.open.remove(&(task.rank(), id));
            self.completed.insert((now, id));
        }
        // Cloned before, since this task may be evicted itself if the clock went back.
        let task = task.clone();
        let evicted = self.evict_oldest();
        Some(Completed {
            task,
            is_new,
            evicted,
        })
    }

    fn evict_oldest(&mut self) -> usize {
        let mut evicted = 0;
        while self.completed.len() > MAX_COMPLETED {
            if let Some((_, id)) = self.completed.pop_first() {
                self.tasks.remove(&id);
                evicted += 1;
            }
        }
        evicted
    }

    fn delete(&mut self, id: Uuid) -> bool {
        let Some(task) = self.tasks.remove(&id) else {
            return false;
        };
        match task.completed {
            None => self.open.remove(&(task.rank(), id)),
            Some(completed) => self.completed.remove(&(completed, id)),
        };
        true
    }

    fn count(&self, now: Moment) -> TaskCounts {
        let open = self.open.iter().filter_map(|(_, id)| self.tasks.get(id));
        let overdue = open.filter(|task| task.is_overdue(now)).count();
        TaskCounts {
            open: self.open.len() as u64,
            overdue: overdue as u64,
            completed: self.completed.len() as u64,
        }
    }
}
