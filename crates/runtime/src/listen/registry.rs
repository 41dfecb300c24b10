//! All connections of the process, so that room can be made for new ones.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Waiting};

/// File descriptors belong to the process, so connections are counted over all its listeners:
/// else one listener could leave none for the others.
pub(super) static PROCESS: LazyLock<Registry> = LazyLock::new(|| {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    Registry::new(limit.map_or(usize::MAX, connections_within))
});

/// The rest is for files, children's pipes, outgoing connections, and for the connections that
/// arrive while others are being closed.
fn connections_within(descriptors: usize) -> usize {
    (descriptors / 4 * 3).max(1)
}

/// Room is made for several connections at a time, so that a flood does not cost a search each.
const EVICTED_AT_ONCE: usize = 16;

/// The open connections of several listeners.
#[derive(Debug)]
pub(super) struct Registry {
    max: usize,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    listener: u64,
    activity: Arc<Activity>,
    close: CancellationToken,
}

/// Connections of which some are to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of every listener.
    Process,
    /// Those of one.
    Listener(u64),
    /// Those of one that have requests in flight.
    Requests(u64),
}

/// A connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    registry: &'a Registry,
    key: u64,
    /// Cancelled when another connection needs the place.
    pub(super) close: CancellationToken,
}

impl Registry {
    fn new(max: usize) -> Self {
        Self {
            max,
            next: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// A number for a new listener.
    pub(super) fn listener(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a connection.
    pub(super) fn enter(&self, listener: u64, activity: Arc<Activity>) -> Place<'_> {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let close = CancellationToken::new();
        let entry = Entry {
            listener,
            activity,
            close: close.clone(),
        };
        self.open.lock().insert(key, entry);
        Place {
            registry: self,
            key,
            close,
        }
    }

    /// Closes connections while the process has as many as it may.
    pub(super) fn make_room(&self) {
        if self.open.lock().len() >= self.max {
            self.evict(Scope::Process);
        }
    }

    /// Closes some of the connections that wait for their peer: first those that never received
    /// a response, then those that wait longest. Returns how many.
    pub(super) fn evict(&self, scope: Scope) -> usize {
        let open = self.open.lock();
        let mut waiting: Vec<_> = open
            .values()
            // One that was told to close may take a moment, and must not count as room made twice.
            .filter(|entry| !entry.close.is_cancelled())
            .filter_map(|entry| Some((entry, entry.activity.waiting()?)))
            .filter(|(entry, waiting)| scope.has(entry.listener, waiting))
            .collect();
        waiting.sort_by_key(|(_, waiting)| (waiting.has_answered, waiting.since));
        // An eighth at most, so that a small listener keeps most of its idle clients.
        let some = EVICTED_AT_ONCE.min(waiting.len().div_ceil(8));
        waiting
            .iter()
            .take(some)
            .for_each(|(entry, _)| entry.close.cancel());
        some
    }
}

impl Scope {
    fn has(self, listener: u64, waiting: &Waiting) -> bool {
        match self {
            Self::Process => true,
            Self::Listener(this) => listener == this,
            Self::Requests(this) => listener == this && waiting.has_requests,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry_of(count: usize) -> (Registry, Vec<Arc<Activity>>) {
        let activities = (0..count).map(|_| Activity::new()).collect();
        (Registry::new(count), activities)
    }

    #[test]
    fn the_one_without_an_answer_goes_first() {
        let (registry, activities) = registry_of(2);
        let places: Vec<_> = activities
            .iter()
            .map(|it| registry.enter(1, Arc::clone(it)))
            .collect();
        drop(activities[0].begin());
        registry.make_room();
        assert!(!places[0].close.is_cancelled());
        assert!(places[1].close.is_cancelled());
    }

    #[test]
    fn a_connection_at_work_stays() {
        let (registry, activities) = registry_of(1);
        let place = registry.enter(1, Arc::clone(&activities[0]));
        let turn = activities[0].begin();
        assert_eq!(registry.evict(Scope::Process), 0);
        turn.give(false);
        assert_eq!(registry.evict(Scope::Requests(2)), 0);
        assert_eq!(registry.evict(Scope::Requests(1)), 1);
        assert!(place.close.is_cancelled());
    }

    #[test]
    fn nothing_is_closed_while_there_is_room() {
        let (registry, activities) = registry_of(2);
        let place = registry.enter(1, Arc::clone(&activities[0]));
        registry.make_room();
        assert!(!place.close.is_cancelled());
    }

    #[test]
    fn a_quarter_of_the_descriptors_stays_free() {
        assert_eq!(connections_within(1024), 768);
        assert_eq!(connections_within(0), 1);
    }
}
