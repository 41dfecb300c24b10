//! All connections of the process, so that room can be made for new ones.

use std::{
    cmp::Reverse,
    collections::HashMap,
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    activity::{Activity, Unread, Waiting},
    totals::{Total, Totals},
};
use crate::LogLimit;

/// The connections of this process.
// File descriptors are limited per process, so connections are counted over all its listeners.
// Otherwise one listener could leave none for the others.
pub(super) static PROCESS: LazyLock<Registry> = LazyLock::new(|| {
    Registry::new(Bounds {
        connections: max_connections(),
        unread_bytes: MAX_UNREAD_BYTES,
        unfinished_heads: MAX_UNFINISHED_HEADS,
        head_bytes: MAX_TOTAL_HEAD_BYTES,
    })
});

/// Raises the limit of this process's file descriptors to at most `max`, and to no more than its hard
/// limit. The soft limit is usually 1,024, for programs that use `select`. Bounds on connections
/// follow from it, so call this first.
///
/// # Errors
/// If the operating system refuses.
pub fn raise_descriptor_limit(max: u64) -> io::Result<()> {
    let limits = getrlimit(Resource::Nofile);
    let raised = limits.maximum.map_or(max, |hard| hard.min(max));
    if limits.current.is_none_or(|soft| soft >= raised) {
        return Ok(());
    }
    let current = Some(raised);
    Ok(setrlimit(Resource::Nofile, Rlimit { current, ..limits })?)
}

/// The most connections of this process.
#[must_use]
pub fn max_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(usize::MAX, connections_within)
}

/// The most connections for a number of file descriptors.
// The rest is for files, children's pipes, outgoing connections, and for the connections that
// arrive while others are being closed.
fn connections_within(descriptors: usize) -> usize {
    (descriptors / 4 * 3).max(1)
}

/// The most connections closed at a time to make room. More than one, so that not every connection
/// of a flood causes a search.
const MAX_EVICTED_AT_ONCE: usize = 16;

/// The most bytes of responses that were built and not read yet, over all connections of the
/// process: two of the longest responses of the query APIs (docs/query.md).
const MAX_UNREAD_BYTES: usize = 64 << 20;
/// The most connections that have sent a part of a request's head. With the longest heads, each
/// takes about 64 KiB, together 64 MiB. Clients send a head at once, so few are incomplete.
const MAX_UNFINISHED_HEADS: usize = 1024;
/// The most bytes of the heads of requests whose response has not begun, over all connections of
/// the process, not counting `UNCOUNTED_HEAD_BYTES` of each. Without this bound, each listener
/// could hold as many heads of 48 KiB as it allows requests.
const MAX_TOTAL_HEAD_BYTES: usize = 64 << 20;

/// The bounds on all connections together.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    unread_bytes: usize,
    unfinished_heads: usize,
    head_bytes: usize,
}

/// The open connections of several listeners.
#[derive(Debug)]
pub(super) struct Registry {
    max: Bounds,
    totals: Arc<Totals>,
    /// Limits the warnings, since connections that have to be closed usually come in large numbers.
    warnings: LogLimit,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    listener: u64,
    activity: Arc<Activity>,
}

/// The registration of a connection. Dropping it removes the connection.
#[derive(Debug)]
pub(super) struct Registration<'a> {
    registry: &'a Registry,
    key: u64,
}

impl Registry {
    fn new(max: Bounds) -> Self {
        Self {
            max,
            totals: Arc::default(),
            warnings: LogLimit::new(),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        }
    }

    /// A number for a new listener.
    pub(super) fn next_listener(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The activity of a new connection. `busy` is the number of its listener's connections that
    /// have requests.
    pub(super) fn new_activity(&self, busy: &Arc<Total>) -> Arc<Activity> {
        Activity::new(&self.totals, busy)
    }

    /// Adds a connection.
    pub(super) fn add(&self, listener: u64, activity: Arc<Activity>) -> Registration<'_> {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(key, Entry { listener, activity });
        Registration {
            registry: self,
            key,
        }
    }

    /// Closes connections if the process has as many as allowed.
    pub(super) fn limit_connections(&self) {
        if self.open.lock().len() >= self.max.connections {
            self.make_room(|_| true);
        }
    }

    /// Closes some connections of these listeners to make room for another one. If none can be
    /// closed, the oldest end after their requests in progress: a client that always has a next
    /// request would otherwise keep its connection, and others would get none. Returns the number
    /// of connections closed or ended.
    pub(super) fn make_room(&self, is_included: impl Fn(u64) -> bool) -> usize {
        let open = self.open.lock();
        let included = || staying(&open).filter(|it| is_included(it.listener));
        let waiting = included().filter_map(|it| it.activity.waiting());
        // In a flood, new connections are closed first, before those of clients that were served.
        let protects_new = waiting.filter(Waiting::is_new).count() <= included().count() / 2;
        let may_close =
            |of, waiting: &Waiting| is_included(of) && !(protects_new && waiting.is_new());
        let evicted = evict(&open, may_close);
        if evicted > 0 {
            return evicted;
        }
        let included = open.iter().filter(|(_, it)| is_included(it.listener));
        let mut included: Vec<_> = included.collect();
        included.sort_unstable_by_key(|(key, _)| **key);
        let ending = included.iter().filter(|(_, it)| it.activity.end());
        ending.take(MAX_EVICTED_AT_ONCE).count()
    }

    /// Closes some of a listener's connections whose requests wait for their peer, beginning with
    /// those that have the most. Requests of the same connection that wait for the server do not
    /// protect it: otherwise one of them would suffice to keep a hundred permits.
    pub(super) fn evict_requests(&self, listener: u64) {
        let open = self.open.lock();
        let mut waiting: Vec<_> = staying(&open)
            .filter(|entry| entry.listener == listener)
            .map(|entry| (entry, entry.activity.waiting_requests()))
            .filter(|(_, (requests, _))| *requests > 0)
            .collect();
        waiting.sort_by_key(|(_, (requests, since))| (Reverse(*requests), *since));
        close_some(waiting.into_iter().map(|(entry, _)| entry));
    }

    /// Closes some connections if too many have sent a part of a head, in the order of
    /// [`evict`].
    pub(super) fn limit_heads(&self) {
        if self.totals.unfinished_heads.get() > self.max.unfinished_heads {
            let closed = evict(&self.open.lock(), |_, waiting| waiting.has_unfinished_head);
            self.warn(closed, "closed connections with incomplete requests");
        }
    }

    /// Closes connections if the process holds too many bytes of heads, beginning with those that
    /// have the most: a client that sends one request, however slowly, keeps its connection.
    pub(super) fn limit_head_bytes(&self) {
        if self.totals.head_bytes.get() <= self.max.head_bytes {
            return;
        }
        let open = self.open.lock();
        let mut heads: Vec<_> = staying(&open)
            .map(|entry| (entry, entry.activity.head_bytes()))
            .collect();
        heads.sort_by_key(|(_, bytes)| *bytes);
        let closed = close_last(heads, self.max.head_bytes);
        drop(open);
        self.warn(closed, "closed connections with large request heads");
    }

    /// Closes connections if the process holds too many unread bytes: first those whose peers have
    /// stopped reading, then those with the most unread bytes.
    ///
    /// Invariant: the connections that stay open have at most `max.unread_bytes` in total, not
    /// counting the longest response that is alone on its connection and is being read. Without
    /// this exception a response longer than the bound could never be read.
    pub(super) fn limit_unread(&self) {
        if self.totals.unread_bytes.get() > self.max.unread_bytes {
            self.limit_unread_at(Instant::now());
        }
    }

    fn limit_unread_at(&self, now: Instant) {
        let open = self.open.lock();
        let mut unread: Vec<_> = staying(&open)
            .map(|entry| (entry, entry.activity.unread(now)))
            .filter(|(_, unread)| unread.bytes > 0)
            .collect();
        unread.sort_by_key(|(_, unread)| (unread.is_stalled, unread.bytes));
        let is_read_alone = |unread: &Unread| unread.is_one_response && !unread.is_stalled;
        if let Some(longest) = unread.iter().rposition(|(_, it)| is_read_alone(it)) {
            unread.remove(longest);
        }
        let unread = unread.into_iter().map(|(entry, it)| (entry, it.bytes));
        let closed = close_last(unread.collect(), self.max.unread_bytes);
        drop(open);
        self.warn(closed, "closed connections with unread responses");
    }

    /// Closes the connections of a listener whose peers have stopped reading a response.
    pub(super) fn close_stalled(&self, listener: u64) {
        let now = Instant::now();
        let has_stopped = |entry: &&Entry| {
            let unread = entry.activity.unread(now);
            entry.listener == listener && unread.bytes > 0 && unread.is_stalled
        };
        let open = self.open.lock();
        let stalled = staying(&open).filter(has_stopped);
        stalled.for_each(|entry| entry.activity.close());
    }

    fn warn(&self, closed: usize, what: &str) {
        if closed > 0
            && let Some(suppressed) = self.warnings.admit()
        {
            tracing::warn!(closed, suppressed, "{what}");
        }
    }
}

/// The connections that are not closing. One that is closing may take a moment to end, and the room
/// and memory that it frees must not be counted twice.
fn staying(open: &HashMap<u64, Entry>) -> impl Iterator<Item = &Entry> {
    open.values().filter(|entry| !entry.activity.is_closing())
}

/// Closes some of the connections that wait for their peer and that `is_included` selects by
/// their listener and their wait. Those without a request come first; among equals, those that
/// have had no response yet, and then those that have waited longest. Returns how many.
fn evict(open: &HashMap<u64, Entry>, is_included: impl Fn(u64, &Waiting) -> bool) -> usize {
    let mut waiting: Vec<_> = staying(open)
        .filter_map(|entry| Some((entry, entry.activity.waiting()?)))
        .filter(|(entry, waiting)| is_included(entry.listener, waiting))
        .collect();
    // By time alone, a client that sends a request slowly would be closed before the newer
    // connections of a flood.
    waiting
        .sort_by_key(|(_, waiting)| (waiting.has_requests, waiting.has_responded, waiting.since));
    close_some(waiting.into_iter().map(|(entry, _)| entry))
}

/// Closes the first of the connections. Returns how many.
fn close_some<'a>(connections: impl ExactSizeIterator<Item = &'a Entry>) -> usize {
    // An eighth at most, so that a small listener keeps most of its idle clients.
    let count = MAX_EVICTED_AT_ONCE.min(connections.len().div_ceil(8));
    connections
        .take(count)
        .for_each(|entry| entry.activity.close());
    count
}

/// Closes the last of the connections, until the others have at most `max` bytes. Returns how many.
fn close_last(mut connections: Vec<(&Entry, usize)>, max: usize) -> usize {
    let mut left: usize = connections.iter().map(|(_, bytes)| bytes).sum();
    let mut closed = 0;
    while left > max
        && let Some((entry, bytes)) = connections.pop()
    {
        entry.activity.close();
        left -= bytes;
        closed += 1;
    }
    closed
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.registry.open.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
