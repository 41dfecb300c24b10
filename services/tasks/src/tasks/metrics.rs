//! Metrics about tasks, in addition to those of every service about its requests.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{store::TaskCounts, task::Task};

// Static strings only, so that no request can create a new series.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The bucket bounds for the time that a task is open, in seconds: from half a second to 30 days.
const OPEN_DURATION_BUCKETS: [f64; 8] = [
    0.5,
    5.0,
    60.0,
    600.0,
    3600.0,
    86_400.0,
    604_800.0,
    2_592_000.0,
];

/// The metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    created: Family<Labels<1>, Counter>,
    completed: Family<Labels<2>, Counter>,
    pub(super) deleted: Counter,
    open_for: Histogram,
    tasks: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    overdue: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    store_up: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    /// The label with the store's name.
    store: Labels<1>,
}

impl Metrics {
    pub(super) fn new(store: &'static str) -> Self {
        Self {
            created: Family::default(),
            completed: Family::default(),
            deleted: Counter::default(),
            open_for: Histogram::new(OPEN_DURATION_BUCKETS),
            tasks: Family::default(),
            overdue: Family::default(),
            store_up: Family::default(),
            store: [("store", store)],
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Tasks created by this process, by priority";
        registry.register("spoor_tasks_created", help, self.created.clone());
        let help = "Tasks completed by this process, by priority and whether they were in time";
        registry.register("spoor_tasks_completed", help, self.completed.clone());
        let help = "Tasks deleted by this process";
        registry.register("spoor_tasks_deleted", help, self.deleted.clone());
        let name = "spoor_tasks_open_duration";
        let help = "Time from a task's creation to its completion";
        registry.register_with_unit(name, help, Unit::Seconds, self.open_for.clone());
        let help = "Tasks in the store at the last count, by state";
        registry.register("spoor_tasks", help, self.tasks.clone());
        let help = "Open tasks whose due time has passed";
        registry.register("spoor_tasks_overdue", help, self.overdue.clone());
        let help = "1 if the store responds, 0 if not";
        registry.register("spoor_tasks_store_up", help, self.store_up.clone());
    }

    pub(super) fn count_created(&self, task: &Task) {
        let labels = [("priority", task.priority.as_str())];
        self.created.get_or_create(&labels).inc();
    }

    pub(super) fn count_completed(&self, task: &Task) {
        let Some(completed) = task.completed else {
            return;
        };
        let in_time = match task.due {
            None => "no_due_time",
            Some(due) if completed <= due => "yes",
            Some(_) => "no",
        };
        let labels = [("priority", task.priority.as_str()), ("in_time", in_time)];
        self.completed.get_or_create(&labels).inc();
        // The duration can be negative if another process with a different clock created the task.
        let open_for = completed.seconds_since(task.created).max(0.0);
        self.open_for.observe(open_for);
    }

    /// Sets the numbers of tasks in the store.
    pub(super) fn set_counts(&self, count: TaskCounts) {
        let state = |state| self.tasks.get_or_create_owned(&[("state", state)]);
        state("open").set(count.open);
        state("completed").set(count.completed);
        self.overdue.get_or_create(&self.store).set(count.overdue);
        self.store_up.get_or_create(&self.store).set(1);
    }

    /// Removes the numbers of tasks, which are unknown while the store does not respond.
    pub(super) fn clear_counts(&self) {
        self.tasks.clear();
        self.overdue.clear();
        self.store_up.get_or_create(&self.store).set(0);
    }
}
