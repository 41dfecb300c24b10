//! The side that a connection waits for: the server or the peer.
//!
//! A connection on which it is only ever the peer's turn costs a descriptor and memory and does
//! nothing for it. Such a connection is the one to close when it lasts, or when room is needed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Limits;

/// The activity on one connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    requests: usize,
    /// Requests whose next step is the server's.
    working: usize,
    /// The last step of either side.
    last_step: Instant,
    has_answered: bool,
}

/// A connection that waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) has_answered: bool,
    pub(super) has_requests: bool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            requests: 0,
            working: 0,
            last_step: Instant::now(),
            has_answered: false,
        })))
    }

    /// The wait, if nothing on the connection is the server's turn.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.0.lock();
        (state.working == 0).then_some(Waiting {
            since: state.last_step,
            has_answered: state.has_answered,
            has_requests: state.requests > 0,
        })
    }

    /// The requests in flight.
    pub(super) fn requests(&self) -> usize {
        self.0.lock().requests
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

    /// A request begins, with the server's turn.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        let mut state = self.0.lock();
        state.requests += 1;
        state.working += 1;
        state.last_step = Instant::now();
        Turn {
            activity: Arc::clone(self),
            is_servers: Mutex::new(true),
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
        let mut state = self.activity.0.lock();
        state.last_step = Instant::now();
        match (*is_servers, to_server) {
            (true, false) => state.working -= 1,
            (false, true) => state.working += 1,
            _ => {}
        }
        *is_servers = to_server;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.activity.0.lock();
        state.requests -= 1;
        state.working -= usize::from(*self.is_servers.get_mut());
        state.last_step = Instant::now();
        state.has_answered = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_new_connection_waits_for_its_peer() {
        let waiting = Activity::new().waiting().unwrap();
        assert!(!waiting.has_answered && !waiting.has_requests);
    }

    #[test]
    fn one_request_at_work_is_enough_to_be_busy() {
        let activity = Activity::new();
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
    fn a_peer_that_waits_too_long_has_no_time_left() {
        let activity = Activity::new();
        let none = Limits {
            header_timeout: Duration::ZERO,
            ..Limits::default()
        };
        assert_eq!(activity.look_again(&none), None);
        assert!(activity.look_again(&Limits::default()).is_some());
    }
}
