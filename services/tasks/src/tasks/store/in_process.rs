//! The tasks in this process: gone when it ends.

use std::{
    collections::{BTreeSet, HashMap},
    future::ready,
};

use parking_lot::Mutex;
use tracing::{Span, info_span};
use uuid::Uuid;

use super::{Answer, Census, Completed, Kind, MOST_COMPLETED, MOST_OPEN, Store, StoreError, Which};
use crate::tasks::task::{Moment, Task};

/// At most [`MOST_OPEN`] open and [`MOST_COMPLETED`] completed tasks.
#[derive(Debug, Default)]
pub(crate) struct InProcess(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    tasks: HashMap<Uuid, Task>,
    /// The most pressing first.
    open: BTreeSet<(i64, Uuid)>,
    /// The oldest first.
    completed: BTreeSet<(Moment, Uuid)>,
}

impl Store for InProcess {
    fn kind(&self) -> Kind {
        Kind::InProcess
    }

    fn create<'a>(&'a self, task: &'a Task) -> Answer<'a, ()> {
        self.answer("INSERT", |tables| tables.create(task.clone()))
    }

    fn get(&self, id: Uuid) -> Answer<'_, Option<Task>> {
        self.answer("SELECT", move |tables| Ok(tables.tasks.get(&id).cloned()))
    }

    fn list(&self, which: Which, limit: usize) -> Answer<'_, Vec<Task>> {
        self.answer("SELECT", move |tables| Ok(tables.list(which, limit)))
    }

    fn complete(&self, id: Uuid, now: Moment) -> Answer<'_, Option<Completed>> {
        self.answer("UPDATE", move |tables| Ok(tables.complete(id, now)))
    }

    fn delete(&self, id: Uuid) -> Answer<'_, bool> {
        self.answer("DELETE", move |tables| Ok(tables.delete(id)))
    }

    fn census(&self, now: Moment) -> Answer<'_, Census> {
        Box::pin(ready(Ok(self.0.lock().census(now))))
    }
}

impl InProcess {
    fn answer<'a, T>(
        &'a self,
        operation: &'static str,
        run: impl FnOnce(&mut Tables) -> Result<T, StoreError> + Send + 'a,
    ) -> Answer<'a, T> {
        // Not before it is awaited: only then the span that it belongs below is entered.
        Box::pin(async move { span(operation).in_scope(|| run(&mut self.0.lock())) })
    }
}

/// As the conventions for databases have it, but internal: no other process is asked.
fn span(operation: &'static str) -> Span {
    info_span!(
        "in-process store",
        otel.name = format!("{operation} tasks"),
        db.system.name = Kind::InProcess.as_str(),
        db.operation.name = operation,
        db.collection.name = "tasks",
    )
}

impl Tables {
    fn create(&mut self, task: Task) -> Result<(), StoreError> {
        if self.open.len() >= MOST_OPEN {
            return Err(StoreError::Full);
        }
        self.open.insert((task.rank(), task.id));
        self.tasks.insert(task.id, task);
        Ok(())
    }

    fn list(&self, which: Which, limit: usize) -> Vec<Task> {
        let open = self.open.iter().map(|(_, id)| id);
        let completed = self.completed.iter().rev().map(|(_, id)| id);
        let ids: Box<dyn Iterator<Item = &Uuid>> = match which {
            Which::Open => Box::new(open),
            Which::Completed => Box::new(completed),
            Which::All => Box::new(open.chain(completed)),
        };
        ids.take(limit)
            .filter_map(|id| self.tasks.get(id).cloned())
            .collect()
    }

    fn complete(&mut self, id: Uuid, now: Moment) -> Option<Completed> {
        let task = self.tasks.get_mut(&id)?;
        let just_now = task.completed.is_none();
        if just_now {
            task.completed = Some(now);
            self.open.remove(&(task.rank(), id));
            self.completed.insert((now, id));
        }
        let task = task.clone();
        let given_up = self.give_up_oldest();
        Some(Completed {
            task,
            just_now,
            given_up,
        })
    }

    fn give_up_oldest(&mut self) -> usize {
        let mut given_up = 0;
        while self.completed.len() > MOST_COMPLETED {
            if let Some((_, id)) = self.completed.pop_first() {
                self.tasks.remove(&id);
                given_up += 1;
            }
        }
        given_up
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

    fn census(&self, now: Moment) -> Census {
        let open = self.open.iter().filter_map(|(_, id)| self.tasks.get(id));
        let overdue = open.filter(|task| task.is_overdue(now)).count();
        Census {
            open: self.open.len() as u64,
            overdue: overdue as u64,
            completed: self.completed.len() as u64,
        }
    }
}
