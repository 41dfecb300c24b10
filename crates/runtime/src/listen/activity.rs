//! The side that a connection waits for, the server or the peer, and what the peer has not read.
//!
//! A connection on which it is only ever the peer's turn costs a descriptor and memory and does
//! nothing for it. Such a connection is the one to close when it lasts, or when room is needed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Limits, totals::Totals};

/// A peer that takes nothing of a response for this long does not read it: a round trip takes less,
/// even if a packet of it is lost and sent again.
const MAX_READ_PAUSE: Duration = Duration::from_secs(5);

/// Bytes for which hyper allocates a read buffer on any connection. Less of a request's head costs
/// no more than the idle connection does.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// The activity on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    totals: Arc<Totals>,
    close: CancellationToken,
}

#[derive(Debug)]
struct State {
    requests: usize,
    /// Requests whose next step is the server's.
    working: usize,
    /// The last step of either side.
    last_step: Instant,
    has_answered: bool,
    /// Bytes of responses that the peer has not read.
    unread_bytes: usize,
    /// The last time that the peer read some of them, or that there was nothing to read.
    last_read: Instant,
    /// The most bytes that may have been received and do not belong to a request yet.
    unparsed_bytes: usize,
    /// A request began after the last bytes were received, so it has taken some of them.
    is_parsed: bool,
    /// The connection is among the unfinished heads of the totals.
    is_counted: bool,
}

/// The responses on a connection that its peer has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) bytes: usize,
    /// The peer takes nothing.
    pub(super) is_stalled: bool,
    /// They belong to one request, and the connection has no other.
    pub(super) is_one_response: bool,
}

/// A connection that waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) has_answered: bool,
    pub(super) has_requests: bool,
    pub(super) has_unfinished_head: bool,
}

impl Activity {
    pub(super) fn new(totals: &Arc<Totals>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            state: Mutex::new(State {
                requests: 0,
                working: 0,
                last_step: now,
                has_answered: false,
                unread_bytes: 0,
                last_read: now,
                unparsed_bytes: 0,
                is_parsed: false,
                is_counted: false,
            }),
            totals: Arc::clone(totals),
            close: CancellationToken::new(),
        })
    }

    /// Ends the connection, with what is in progress on it.
    pub(super) fn close(&self) {
        self.close.cancel();
        // From now on it takes no room from others, so that not more of them are closed than needed.
        self.count_head(&mut self.state.lock());
    }

    pub(super) fn is_closing(&self) -> bool {
        self.close.is_cancelled()
    }

    /// Waits until the connection has to end.
    pub(super) async fn closing(&self) {
        self.close.cancelled().await;
    }

    /// The wait, if nothing on the connection is the server's turn.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.state.lock();
        (state.working == 0).then_some(Waiting {
            since: state.last_step,
            has_answered: state.has_answered,
            has_requests: state.requests > 0,
            has_unfinished_head: state.has_unfinished_head(),
        })
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

    /// Time until the next look at this connection; `None` once the peer has kept the server
    /// waiting for too long.
    pub(super) fn look_again(&self, limits: &Limits) -> Option<Duration> {
        // The state may change meanwhile, so the next look comes no later than the shortest limit.
        let soon = limits.header_timeout.min(limits.idle_timeout);
        let soon = soon.min(limits.stall_timeout);
        let Some(waiting) = self.waiting() else {
            return Some(soon);
        };
        let max_wait = if waiting.has_requests {
            limits.stall_timeout
        } else if waiting.has_answered {
            limits.idle_timeout
        } else {
            limits.header_timeout
        };
        let left = max_wait.checked_sub(waiting.since.elapsed())?;
        (!left.is_zero()).then_some(left.min(soon))
    }

    /// Counts what the peer has sent.
    pub(super) fn receive(&self, bytes: usize) {
        let mut state = self.state.lock();
        // HTTP/1 reads on during a request only once it has used up what it had.
        if state.is_parsed || state.requests > 0 {
            state.unparsed_bytes = 0;
        }
        state.unparsed_bytes += bytes;
        state.is_parsed = false;
        self.count_head(&mut state);
    }

    /// Keeps the totals up to date after a change of the state.
    fn count_head(&self, state: &mut State) {
        let is_counted = state.has_unfinished_head() && !self.is_closing();
        match (state.is_counted, is_counted) {
            (false, true) => self.totals.unfinished_heads.add(1),
            (true, false) => self.totals.unfinished_heads.remove(1),
            _ => {}
        }
        state.is_counted = is_counted;
    }

    /// A request begins, with the server's turn.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        let mut state = self.state.lock();
        state.requests += 1;
        state.working += 1;
        state.last_step = Instant::now();
        state.is_parsed = true;
        self.count_head(&mut state);
        drop(state);
        Turn {
            activity: Arc::clone(self),
            is_servers: Mutex::new(true),
        }
    }
}

impl State {
    /// Returns whether a head may be incomplete that takes more memory than an idle connection. It
    /// is certain before the first request, whose head then is all that was received.
    fn has_unfinished_head(&self) -> bool {
        let idle_bytes = if self.has_answered {
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
pub(super) struct Turn {
    activity: Arc<Activity>,
    is_servers: Mutex<bool>,
}

impl Turn {
    pub(super) fn is_servers(&self) -> bool {
        *self.is_servers.lock()
    }

    /// Gives the turn to the server or to the peer. Either way it was a step.
    pub(super) fn give(&self, to_server: bool) {
        // Lock order: the turn before its connection.
        let mut is_servers = self.is_servers.lock();
        let mut state = self.activity.state.lock();
        state.last_step = Instant::now();
        match (*is_servers, to_server) {
            (true, false) => state.working -= 1,
            (false, true) => state.working += 1,
            _ => {}
        }
        *is_servers = to_server;
    }

    /// Returns whether the connection has to end.
    pub(super) fn is_closing(&self) -> bool {
        self.activity.is_closing()
    }

    /// Counts a part of the response that was built. The peer's time to read it begins, unless it
    /// already has something to read.
    pub(super) fn add_unread(&self, bytes: usize) {
        self.activity.totals.unread_bytes.add(bytes);
        let mut state = self.activity.state.lock();
        if state.unread_bytes == 0 {
            state.last_read = Instant::now();
        }
        state.unread_bytes += bytes;
    }

    /// The peer has read some of the response, which is a step.
    pub(super) fn record_read(&self) {
        let mut state = self.activity.state.lock();
        state.last_read = Instant::now();
        state.last_step = state.last_read;
    }

    /// Ends the count of a part that no longer takes memory.
    pub(super) fn remove_unread(&self, bytes: usize) {
        self.activity.state.lock().unread_bytes -= bytes;
        self.activity.totals.unread_bytes.remove(bytes);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.requests -= 1;
        state.working -= usize::from(*self.is_servers.get_mut());
        state.last_step = Instant::now();
        state.has_answered = true;
        self.activity.count_head(&mut state);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_new_connection_waits_for_its_peer() {
        let waiting = Activity::new(&Arc::default()).waiting().unwrap();
        assert!(!waiting.has_answered && !waiting.has_requests);
    }

    #[test]
    fn one_request_at_work_is_enough_to_be_busy() {
        let activity = Activity::new(&Arc::default());
        let (one, other) = (activity.begin(), activity.begin());
        one.give(false);
        assert_eq!(activity.waiting(), None);
        other.give(false);
        assert!(activity.waiting().unwrap().has_requests);
        one.give(true);
        assert_eq!(activity.waiting(), None);
        drop((one, other));
        let waiting = activity.waiting().unwrap();
        assert!(waiting.has_answered && !waiting.has_requests);
    }

    #[test]
    fn a_head_is_unfinished_until_it_begins() {
        let totals: Arc<Totals> = Arc::default();
        let activity = Activity::new(&totals);
        assert_eq!(totals.unfinished_heads.get(), 0);
        activity.receive(1);
        assert!(activity.waiting().unwrap().has_unfinished_head);
        assert_eq!(totals.unfinished_heads.get(), 1);
        let turn = activity.begin();
        assert_eq!(totals.unfinished_heads.get(), 0);
        // The body.
        activity.receive(READ_BUFFER_BYTES);
        drop(turn);
        assert_eq!(totals.unfinished_heads.get(), 0);
        activity.receive(1);
        assert_eq!(totals.unfinished_heads.get(), 1);
        drop(activity);
        assert_eq!(totals.unfinished_heads.get(), 0);
    }

    #[test]
    fn a_pipelined_head_is_unfinished() {
        let totals: Arc<Totals> = Arc::default();
        let activity = Activity::new(&totals);
        activity.receive(READ_BUFFER_BYTES + 1);
        drop(activity.begin());
        assert_eq!(totals.unfinished_heads.get(), 1);
        activity.close();
        assert_eq!(totals.unfinished_heads.get(), 0);
    }

    #[test]
    fn a_peer_that_waits_too_long_has_no_time_left() {
        let activity = Activity::new(&Arc::default());
        let none = Limits {
            header_timeout: Duration::ZERO,
            ..Limits::default()
        };
        assert_eq!(activity.look_again(&none), None);
        assert!(activity.look_again(&Limits::default()).is_some());
    }
}
