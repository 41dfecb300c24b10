//! Numbers about tasks, beside those that every service has about its requests.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    store::{Census, Kind},
    task::Task,
};

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// From half a second to about a month, in seconds.
const OPEN_FOR: [f64; 8] = [
    0.5,
    5.0,
    60.0,
    600.0,
    3600.0,
    86_400.0,
    604_800.0,
    2_592_000.0,
];

/// What is counted.
#[derive(Debug)]
pub(super) struct Measures {
    created: Family<Labels<1>, Counter>,
    completed: Family<Labels<2>, Counter>,
    deleted: Counter,
    open_for: Histogram,
    tasks: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    overdue: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    store_up: Family<Labels<1>, Gauge<u64, AtomicU64>>,
    store: Kind,
}

impl Measures {
    pub(super) fn new(store: Kind) -> Self {
        Self {
            created: Family::default(),
            completed: Family::default(),
            deleted: Counter::default(),
            open_for: Histogram::new(OPEN_FOR),
            tasks: Family::default(),
            overdue: Family::default(),
            store_up: Family::default(),
            store,
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "spoor_tasks_created",
            "Tasks created by this process",
            self.created.clone(),
        );
        registry.register(
            "spoor_tasks_completed",
            "Tasks completed by this process, and whether in time",
            self.completed.clone(),
        );
        registry.register(
            "spoor_tasks_deleted",
            "Tasks deleted by this process",
            self.deleted.clone(),
        );
        registry.register_with_unit(
            "spoor_tasks_open_duration",
            "From a task's creation to its completion",
            Unit::Seconds,
            self.open_for.clone(),
        );
        registry.register(
            "spoor_tasks",
            "Tasks in the store, when it was last counted",
            self.tasks.clone(),
        );
        registry.register(
            "spoor_tasks_overdue",
            "Open tasks whose time has passed",
            self.overdue.clone(),
        );
        registry.register(
            "spoor_tasks_store_up",
            "Whether the store answers",
            self.store_up.clone(),
        );
    }

    pub(super) fn created(&self, task: &Task) {
        let labels = [("priority", task.priority.as_str())];
        self.created.get_or_create(&labels).inc();
    }

    pub(super) fn completed(&self, task: &Task) {
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
        // Another process's clock may be behind.
        let open_for = completed.seconds_since(task.created).max(0.0);
        self.open_for.observe(open_for);
    }

    pub(super) fn deleted(&self) {
        self.deleted.inc();
    }

    /// The store was counted.
    pub(super) fn counted(&self, census: Census) {
        let state = |state| self.tasks.get_or_create_owned(&[("state", state)]);
        state("open").set(census.open);
        state("completed").set(census.completed);
        let of_store = self.of_store();
        self.overdue.get_or_create(&of_store).set(census.overdue);
        self.up(1);
    }

    /// The store didn't answer: what it had before is not true now.
    pub(super) fn uncounted(&self) {
        self.tasks.clear();
        self.overdue.clear();
        self.up(0);
    }

    fn up(&self, up: u64) {
        self.store_up.get_or_create(&self.of_store()).set(up);
    }

    fn of_store(&self) -> Labels<1> {
        [("store", self.store.as_str())]
    }
}
