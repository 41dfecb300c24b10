//! The processes of one instance.
//!
//! A pod's container may restart, and two processes may run side by side. Each process counts
//! from zero, so each has a record of its own.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    instance::{Instance, InstanceState},
    record::{MAX_DROP_REASONS, PlanState, Record},
    served_plan::ServedPlan,
};

/// The most processes of an instance that are connected or remembered.
const MAX_PROCESSES: usize = 16;

/// The known processes of an instance, each with the `start` of its hello or, if that is empty, with
/// the instance ID of the hello.
#[derive(Debug, Default)]
pub(crate) struct Processes(Vec<(Arc<str>, Record)>);

impl Processes {
    pub(crate) fn get_mut(&mut self, start: &str) -> Option<&mut Record> {
        let process = self.0.iter_mut().find(|(known, _)| **known == *start);
        process.map(|(_, record)| record)
    }

    /// Adds a process. If there are too many, it replaces the disconnected one whose last message is
    /// the oldest.
    ///
    /// Returns `false` if there is no room because all are connected.
    pub(crate) fn try_insert(&mut self, start: Arc<str>, record: Record) -> bool {
        if self.0.len() >= MAX_PROCESSES {
            let disconnected = self.0.iter().enumerate();
            let disconnected = disconnected.filter(|(_, (_, record))| !record.is_connected);
            let Some((oldest, _)) = disconnected.min_by_key(|(_, (_, it))| it.last_message) else {
                return false;
            };
            // A connected process is never removed, since its stream needs the record.
            self.0.swap_remove(oldest);
        }
        self.0.push((start, record));
        true
    }

    pub(crate) fn keep_connected(&mut self) {
        self.0.retain(|(_, record)| record.is_connected);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.iter().any(|(_, record)| record.is_connected)
    }

    /// The number of processes that are not connected.
    pub(crate) fn disconnected(&self) -> usize {
        self.all().filter(|record| !record.is_connected).count()
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.0.iter_mut().map(|(_, record)| record)
    }

    /// The state of the process that is furthest behind: an instance is current only if each of
    /// its processes is.
    pub(crate) fn plan_state(
        &self,
        served: Option<&ServedPlan>,
        silent_after: Duration,
        now: Instant,
    ) -> PlanState {
        let rank = |state: &PlanState| match state {
            PlanState::Refused(_) => 0,
            PlanState::Pending => 1,
            PlanState::Silent => 2,
            PlanState::Current => 3,
        };
        self.representatives()
            .map(|record| record.plan_state(served, silent_after, now))
            .min_by_key(rank)
            .unwrap_or(PlanState::Silent)
    }

    /// The longest time that the last acknowledgement of a process took.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.representatives()
            .filter_map(|record| record.took)
            .max()
    }

    /// The state of the instance.
    pub(crate) fn instance_state(
        &self,
        instance: Instance,
        is_expected: bool,
        served: Option<&ServedPlan>,
        silent_after: Duration,
        now: Instant,
    ) -> InstanceState {
        let mut spans_dropped: BTreeMap<String, u64> = BTreeMap::new();
        for (reason, spans) in self.spans_dropped() {
            // Each process may have reasons of its own.
            let has_room =
                spans_dropped.len() < MAX_DROP_REASONS || spans_dropped.contains_key(reason);
            let reason = if has_room { reason.as_str() } else { "Other" };
            let sum = spans_dropped.entry(reason.to_owned()).or_default();
            *sum = sum.saturating_add(*spans);
        }
        InstanceState {
            instance,
            is_expected,
            is_connected: self.is_connected(),
            held: self.representatives().map(|it| it.held).min().flatten(),
            is_current: self.plan_state(served, silent_after, now) == PlanState::Current,
            took: self.took(),
            spans_exported: self
                .all()
                .fold(0, |sum, it| sum.saturating_add(it.spans_exported)),
            spans_dropped,
        }
    }

    /// The spans that each remembered process has dropped, by reason.
    pub(crate) fn spans_dropped(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.all().flat_map(|it| &it.spans_dropped)
    }

    /// Every remembered process, connected or not.
    fn all(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().map(|(_, record)| record)
    }

    /// The processes that represent the instance: the connected ones, or else the one with the
    /// latest message.
    fn representatives(&self) -> impl Iterator<Item = &Record> {
        let last = match self.is_connected() {
            true => None,
            false => self.all().max_by_key(|record| record.last_message),
        };
        self.all().filter(|record| record.is_connected).chain(last)
    }
}
