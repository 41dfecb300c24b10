//! Operations on tasks. Each has a span of its own with attributes. Those that change tasks are
//! counted.

use std::error::Error;

use opentelemetry::{Context, KeyValue, trace::TraceContextExt};
use tracing::{Instrument, Span, field::Empty, info_span};
use uuid::Uuid;

use super::{
    api::Api,
    input::Listing,
    store::StoreError,
    task::{Moment, Task},
};

impl Api {
    pub(super) async fn create(&self, task: Task) -> Result<Task, StoreError> {
        let span = self.span("create task");
        describe(&span, &task);
        let work = async {
            // Counted after the store accepted it, so that failed requests are not counted.
            self.store.create(&task).await?;
            self.metrics.count_created(&task);
            add_event("task.created", || {
                let due_in = task.due.map(|due| due.seconds_since(task.created));
                due_in.map(|it| KeyValue::new("task.due_in", it))
            });
            Ok(task)
        };
        run_in_span(&span, work).await
    }

    pub(super) async fn get(&self, id: Uuid) -> Result<Option<Task>, StoreError> {
        let span = self.span("get task");
        span.record("task.id", tracing::field::display(id));
        let task = run_in_span(&span, self.store.get(id)).await?;
        if let Some(task) = &task {
            describe(&span, task);
        }
        Ok(task)
    }

    pub(super) async fn list(&self, listing: Listing) -> Result<Vec<Task>, StoreError> {
        let Listing { filter, limit } = listing;
        let span = self.span("list tasks");
        let tasks = run_in_span(&span, self.store.list(filter, limit.into())).await?;
        let now = Moment::now();
        let overdue = tasks.iter().filter(|task| task.is_overdue(now)).count();
        span.record("tasks.count", tasks.len());
        span.record("tasks.overdue", overdue);
        Ok(tasks)
    }

    pub(super) async fn complete(&self, id: Uuid) -> Result<Option<Task>, StoreError> {
        let span = self.span("complete task");
        span.record("task.id", tracing::field::display(id));
        let work = async {
            let Some(done) = self.store.complete(id, Moment::now()).await? else {
                return Ok(None);
            };
            describe(&span, &done.task);
            // A repeated request changes nothing, so that clients may retry without counting twice.
            if done.is_new {
                self.metrics.count_completed(&done.task);
                add_completed_event(&done.task);
            } else {
                add_event("task.already_completed", || []);
            }
            if done.evicted > 0 {
                add_event("tasks.evicted", || {
                    let count = i64::try_from(done.evicted).unwrap_or(i64::MAX);
                    [KeyValue::new("tasks.count", count)]
                });
            }
            Ok(Some(done.task))
        };
        run_in_span(&span, work).await
    }

    pub(super) async fn delete(&self, id: Uuid) -> Result<bool, StoreError> {
        let span = self.span("delete task");
        span.record("task.id", tracing::field::display(id));
        let deleted = run_in_span(&span, self.store.delete(id)).await?;
        if deleted {
            self.metrics.deleted.inc();
        }
        Ok(deleted)
    }

    fn span(&self, name: &'static str) -> Span {
        // `tracing` fixes a span's fields when it is created, so this lists those of all operations.
        info_span!(
            "task",
            otel.name = name,
            spoor.tasks.store = self.store.name(),
            task.id = Empty,
            task.priority = Empty,
            task.due = Empty,
            task.overdue = Empty,
            tasks.count = Empty,
            tasks.overdue = Empty,
        )
    }
}

/// Runs an operation in a span, which gets an error status if the store fails.
async fn run_in_span<T>(
    span: &Span,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let work = async {
        let done = work.await;
        if let Err(error) = &done
            // A full store is reported to the client, and is not a failure of the store.
            && !matches!(error, StoreError::Full)
        {
            tracing::error!(error = error as &dyn Error, "task store operation failed");
        }
        done
    };
    work.instrument(span.clone()).await
}

fn describe(span: &Span, task: &Task) {
    // Formatting the fields would cost time that an unsampled request need not spend.
    if span.is_disabled() {
        return;
    }
    span.record("task.id", tracing::field::display(task.id));
    span.record("task.priority", task.priority.as_str());
    if let Some(due) = task.due {
        span.record("task.due", tracing::field::display(due));
        span.record("task.overdue", task.is_overdue(Moment::now()));
    }
}

fn add_completed_event(task: &Task) {
    add_event("task.completed", || {
        let done = task.completed.unwrap_or(task.created);
        let open_for = KeyValue::new("task.open_for", done.seconds_since(task.created));
        let late_by = task.due.map(|due| done.seconds_since(due));
        let late_by = late_by.filter(|late| *late > 0.0);
        let late_by = late_by.map(|it| KeyValue::new("task.late_by", it));
        [open_for].into_iter().chain(late_by)
    });
}

/// Adds an event to the current span, without a log line, since there may be thousands per second.
fn add_event<I: IntoIterator<Item = KeyValue>>(name: &'static str, attributes: impl FnOnce() -> I) {
    Context::map_current(|context| {
        let span = context.span();
        if span.is_recording() {
            span.add_event(name, attributes().into_iter().collect());
        }
    });
}
