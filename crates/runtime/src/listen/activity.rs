//! The side that a connection waits for, the server or the peer, and the bytes that the peer has
//! not read.
//!
//! A connection that only waits for its peer occupies a descriptor and memory while the server has
//! nothing to do for it. Such connections are closed after a timeout, or when room is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Limits,
    totals::{Total, Totals},
    turn::ConnectionTurn,
};

/// The longest time in which a peer that still reads its response reads [`MIN_READ_BYTES`]. A round
/// trip takes less, even if a packet is lost and sent again.
const MAX_READ_PAUSE: Duration = Duration::from_secs(5);
/// The fewest bytes that such a peer reads in that time. With fewer, a peer could keep many
/// responses in memory by reading a byte now and then.
const MIN_READ_BYTES: usize = 64 << 10;

/// The time for the first request of a connection to arrive and be read, during which the connection
/// is not closed to make room.
const MAX_FIRST_REQUEST_DELAY: Duration = Duration::from_millis(500);

/// The size of the read buffer that hyper allocates for every connection. A part of a request's
/// head that fits in it takes no more memory than an idle connection does.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// The activity on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    pub(super) turn: ConnectionTurn,
    totals: Arc<Totals>,
    /// The number of connections of the same listener that have requests.
    busy: Arc<Total>,
    close: CancellationToken,
    end: CancellationToken,
}

#[derive(Debug)]
struct State {
    requests: usize,
    /// Requests that wait for the server.
    working: usize,
    /// The time of the last step: a request began, ended or recorded the side that it waits for, or
    /// the peer read a part of a response. Bytes of an unfinished head do not count as a step.
    last_step: Instant,
    has_responded: bool,
    /// Bytes of the heads of requests whose response has not begun.
    head_bytes: usize,
    /// Bytes of responses that the peer has not read.
    unread_bytes: usize,
    /// The last time that the peer had read [`MIN_READ_BYTES`] of them, or had nothing to read.
    last_read: Instant,
    /// Bytes read since then.
    read_bytes: usize,
    /// An upper bound on the bytes received that do not belong to a request yet.
    unparsed_bytes: usize,
    /// True if a request began after the last bytes were received, and so consumed some of them.
    is_parsed: bool,
    /// True if the totals count this connection among the unfinished heads.
    is_counted: bool,
}

/// The responses on a connection that its peer has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) bytes: usize,
    /// True if the peer has stopped reading, or almost: fewer than [`MIN_READ_BYTES`] in
    /// [`MAX_READ_PAUSE`].
    pub(super) is_stalled: bool,
    /// True if they belong to the only request on the connection.
    pub(super) is_one_response: bool,
}

/// A connection that waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) has_responded: bool,
    pub(super) has_requests: bool,
    pub(super) has_unfinished_head: bool,
}

impl Waiting {
    /// Returns whether the connection may be so new that its request is on its way.
    pub(super) fn is_new(&self) -> bool {
        !self.has_responded && !self.has_requests && self.since.elapsed() < MAX_FIRST_REQUEST_DELAY
    }
}

impl Activity {
    pub(super) fn new(totals: &Arc<Totals>, busy: &Arc<Total>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            state: Mutex::new(State {
                requests: 0,
                working: 0,
                last_step: now,
                has_responded: false,
                head_bytes: 0,
                unread_bytes: 0,
                last_read: now,
                read_bytes: 0,
                unparsed_bytes: 0,
                is_parsed: false,
                is_counted: false,
            }),
            turn: ConnectionTurn::default(),
            totals: Arc::clone(totals),
            busy: Arc::clone(busy),
            close: CancellationToken::new(),
            end: CancellationToken::new(),
        })
    }

    /// Ends the connection and all requests in progress on it.
    pub(super) fn close(&self) {
        self.close.cancel();
        // A closing connection no longer counts, so that no more of the others are closed than
        // needed.
        self.count_head(&mut self.state.lock());
    }

    pub(super) fn is_closing(&self) -> bool {
        self.close.is_cancelled()
    }

    /// Waits until the connection has to end.
    pub(super) async fn closing(&self) {
        self.close.cancelled().await;
    }

    /// Ends the connection after the requests in progress, unless its first request has not arrived
    /// or it is ending already. Returns true if this call ends it.
    pub(super) fn end(&self) -> bool {
        let state = self.state.lock();
        let ends = (state.has_responded || state.requests > 0) && !self.is_ending();
        drop(state);
        if ends {
            self.end.cancel();
        }
        ends
    }

    /// Returns whether the connection has to end after the requests in progress.
    pub(super) fn is_ending(&self) -> bool {
        self.end.is_cancelled()
    }

    /// Waits until the connection has to end after the requests in progress.
    pub(super) async fn ending(&self) {
        self.end.cancelled().await;
    }

    /// The wait for the peer, or `None` while a request waits for the server.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.state.lock();
        (state.working == 0).then_some(Waiting {
            since: state.last_step,
            has_responded: state.has_responded,
            has_requests: state.requests > 0,
            has_unfinished_head: state.has_unfinished_head(),
        })
    }

    /// The bytes of the heads of requests whose response has not begun.
    pub(super) fn head_bytes(&self) -> usize {
        self.state.lock().head_bytes
    }

    /// The requests that wait for the peer, and the time of the last step.
    pub(super) fn waiting_requests(&self) -> (usize, Instant) {
        let state = self.state.lock();
        (state.requests - state.working, state.last_step)
    }

    /// The requests in flight.
    pub(super) fn requests(&self) -> usize {
        self.state.lock().requests
    }

    pub(super) fn unread(&self, now: Instant) -> Unread {
        let state = self.state.lock();
        Unread {
            bytes: state.unread_bytes,
            is_stalled: now.saturating_duration_since(state.last_read) > MAX_READ_PAUSE,
            is_one_response: state.requests <= 1,
        }
    }

    /// The time until the next check of this connection, or `None` once it has waited for its peer
    /// for too long.
    pub(super) fn next_check(&self, limits: &Limits) -> Option<Duration> {
        // The state may change meanwhile, so the next check comes no later than the shortest limit.
        let shortest = limits.header_timeout.min(limits.idle_timeout);
        let shortest = shortest.min(limits.stall_timeout);
        let Some(waiting) = self.waiting() else {
            return Some(shortest);
        };
        let max_wait = if waiting.has_requests {
            limits.stall_timeout
        } else if waiting.has_responded {
            limits.idle_timeout
        } else {
            limits.header_timeout
        };
        let left = max_wait.checked_sub(waiting.since.elapsed())?;
        (!left.is_zero()).then_some(left.min(shortest))
    }

    /// Counts bytes that the peer has sent.
    pub(super) fn receive(&self, bytes: usize) {
        let mut state = self.state.lock();
        // During a request, hyper reads more of an HTTP/1 connection only once its buffer is empty.
        if state.is_parsed || state.requests > 0 {
            state.unparsed_bytes = 0;
        }
        state.unparsed_bytes += bytes;
        state.is_parsed = false;
        self.count_head(&mut state);
    }

    /// Updates the totals after a change of the state.
    fn count_head(&self, state: &mut State) {
        let is_counted = state.has_unfinished_head() && !self.is_closing();
        match (state.is_counted, is_counted) {
            (false, true) => self.totals.unfinished_heads.add(1),
            (true, false) => self.totals.unfinished_heads.remove(1),
            _ => {}
        }
        state.is_counted = is_counted;
    }

    /// Begins a request, which waits for the server at first.
    pub(super) fn begin(self: &Arc<Self>) -> RequestActivity {
        let mut state = self.state.lock();
        self.busy.add(usize::from(state.requests == 0));
        state.requests += 1;
        state.working += 1;
        state.last_step = Instant::now();
        state.is_parsed = true;
        self.count_head(&mut state);
        drop(state);
        RequestActivity {
            activity: Arc::clone(self),
            is_waiting_for_server: Mutex::new(true),
            head_bytes: AtomicUsize::new(0),
        }
    }
}

impl State {
    /// Returns whether the connection may hold an incomplete head. Before the first response, all
    /// received bytes count as one, including a TLS handshake or a preface. After that, they count
    /// only if they take more memory than an idle connection does.
    fn has_unfinished_head(&self) -> bool {
        let idle_bytes = if self.has_responded {
            READ_BUFFER_BYTES
        } else {
            0
        };
        self.requests == 0 && self.unparsed_bytes > idle_bytes
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if self.state.get_mut().is_counted {
            self.totals.unfinished_heads.remove(1);
        }
    }
}

/// The side that one request waits for. The request ends when this is dropped.
#[derive(Debug)]
pub(super) struct RequestActivity {
    activity: Arc<Activity>,
    is_waiting_for_server: Mutex<bool>,
    head_bytes: AtomicUsize,
}

impl RequestActivity {
    pub(super) fn is_waiting_for_server(&self) -> bool {
        *self.is_waiting_for_server.lock()
    }

    /// Records that the request now waits for the server, or else for the peer.
    pub(super) fn set_waiting_for_server(&self, is_waiting: bool) {
        // Lock order: the request before its connection.
        let mut is_waiting_for_server = self.is_waiting_for_server.lock();
        let mut state = self.activity.state.lock();
        state.last_step = Instant::now();
        match (*is_waiting_for_server, is_waiting) {
            (true, false) => state.working -= 1,
            (false, true) => state.working += 1,
            _ => {}
        }
        *is_waiting_for_server = is_waiting;
    }

    /// Returns whether the connection has to end.
    pub(super) fn is_closing(&self) -> bool {
        self.activity.is_closing()
    }

    /// Counts the memory that the request's head takes.
    pub(super) fn add_head(&self, bytes: usize) {
        // Most heads add nothing, and need no lock.
        if bytes == 0 {
            return;
        }
        self.head_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.activity.state.lock().head_bytes += bytes;
        self.activity.totals.head_bytes.add(bytes);
    }

    /// Stops counting the head, which the handler no longer needs.
    pub(super) fn remove_head(&self) {
        let bytes = self.head_bytes.swap(0, Ordering::Relaxed);
        if bytes == 0 {
            return;
        }
        self.activity.state.lock().head_bytes -= bytes;
        self.activity.totals.head_bytes.remove(bytes);
    }

    /// Counts a part of the response that was built. The peer's time to read begins, unless there
    /// are unread bytes already.
    pub(super) fn add_unread(&self, bytes: usize) {
        self.activity.totals.unread_bytes.add(bytes);
        let mut state = self.activity.state.lock();
        if state.unread_bytes == 0 {
            state.last_read = Instant::now();
            state.read_bytes = 0;
        }
        state.unread_bytes += bytes;
    }

    /// Records that the peer has read some bytes of the response.
    pub(super) fn record_read(&self, bytes: usize) {
        let mut state = self.activity.state.lock();
        state.last_step = Instant::now();
        state.read_bytes += bytes;
        if state.read_bytes >= MIN_READ_BYTES {
            state.read_bytes = 0;
            state.last_read = state.last_step;
        }
    }

    /// Removes the bytes of a part that no longer takes memory.
    pub(super) fn remove_unread(&self, bytes: usize) {
        self.activity.state.lock().unread_bytes -= bytes;
        self.activity.totals.unread_bytes.remove(bytes);
    }
}

impl Drop for RequestActivity {
    fn drop(&mut self) {
        self.remove_head();
        let mut state = self.activity.state.lock();
        state.requests -= 1;
        let is_last = state.requests == 0;
        self.activity.busy.remove(usize::from(is_last));
        state.working -= usize::from(*self.is_waiting_for_server.get_mut());
        state.last_step = Instant::now();
        state.has_responded = true;
        self.activity.count_head(&mut state);
    }
}

#[cfg(test)]
mod tests;
