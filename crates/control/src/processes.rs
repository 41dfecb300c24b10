//! The processes of one instance.
//!
//! A pod's container may start again, and two may run side by side: each process counts from
//! zero, so each has a record of its own, and all of them together are the instance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    record::{Record, Standing},
    served::Served,
};

/// The most processes of an instance that are connected or remembered.
const MAX_PROCESSES: usize = 16;

/// Every process of an instance that is known, by the name of its start.
#[derive(Debug, Default)]
pub(crate) struct Processes(Vec<(Arc<str>, Record)>);

impl Processes {
    pub(crate) fn get(&self, start: &str) -> Option<&Record> {
        let found = self.0.iter().find(|(known, _)| **known == *start);
        found.map(|(_, record)| record)
    }

    pub(crate) fn get_mut(&mut self, start: &str) -> Option<&mut Record> {
        let found = self.0.iter_mut().find(|(known, _)| **known == *start);
        found.map(|(_, record)| record)
    }

    /// Makes room for one more, if need be by forgetting who is gone; whether there is room.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.0.len() < MAX_PROCESSES {
            return true;
        }
        let gone = self.0.iter().enumerate();
        let gone = gone.filter(|(_, (_, record))| !record.is_connected);
        match gone.min_by_key(|(_, (_, record))| record.heard) {
            Some((oldest, _)) => {
                self.0.swap_remove(oldest);
                true
            }
            None => false,
        }
    }

    pub(crate) fn insert(&mut self, start: Arc<str>, record: Record) {
        self.0.push((start, record));
    }

    pub(crate) fn remove(&mut self, start: &str) {
        self.0.retain(|(known, _)| **known != *start);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.iter().any(|(_, record)| record.is_connected)
    }

    /// Every process that is remembered, gone or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().map(|(_, record)| record)
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.0.iter_mut().map(|(_, record)| record)
    }

    /// Those that speak for the instance: who is connected, or else who was heard last.
    pub(crate) fn speaking(&self) -> impl Iterator<Item = &Record> {
        let last = match self.is_connected() {
            true => None,
            false => self.all().max_by_key(|record| record.heard),
        };
        self.all().filter(|record| record.is_connected).chain(last)
    }

    /// An instance is current only if each of its processes is.
    pub(crate) fn standing(
        &self,
        served: Option<&Served>,
        silent_after: Duration,
        now: Instant,
    ) -> Standing {
        let rank = |standing: &Standing| match standing {
            Standing::Refused(_) => 0,
            Standing::Pending => 1,
            Standing::Silent => 2,
            Standing::Current => 3,
        };
        self.speaking()
            .map(|record| record.standing(served, silent_after, now))
            .min_by_key(rank)
            .unwrap_or(Standing::Silent)
    }

    /// The time that the last acknowledgement of the newest plan took.
    pub(crate) fn took(&self) -> Option<Duration> {
        self.speaking().filter_map(|record| record.took).max()
    }
}
