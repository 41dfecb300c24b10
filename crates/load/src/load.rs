//! A load: what to send, and when.

use std::{num::NonZeroUsize, time::Duration};

use super::{base_url::BaseUrl, operation::LoadOperation, schedule::Schedule};

/// A load to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// The operations, which take turns.
    pub operations: Vec<LoadOperation>,
    /// The times at which requests are due. Without a schedule, in a closed loop, each connection
    /// sends the next request when it has the response to the last.
    pub schedule: Option<Schedule>,
    /// The maximum number of requests, except for follow-ups to responses that arrive after the
    /// last of them.
    pub requests: Option<u64>,
    /// The maximum duration.
    pub duration: Option<Duration>,
    /// The most requests at a time, each on a connection of its own. With several addresses, there are
    /// up to as many connections to each.
    pub connections: NonZeroUsize,
    /// The maximum time to wait for a response.
    pub timeout: Duration,
}

impl Load {
    /// A number of `GET` requests for one path, as fast as responses arrive.
    #[must_use]
    pub fn closed_loop(
        url: BaseUrl,
        path: &str,
        requests: u64,
        connections: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            operations: vec![LoadOperation::get(format!("GET {path}"), url, path)],
            schedule: None,
            requests: Some(requests),
            duration: None,
            connections: NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN),
            timeout,
        }
    }

    /// The number of requests, if it is known in advance.
    #[must_use]
    pub fn expected_requests(&self) -> Option<u64> {
        let due = self.schedule.as_ref().map(Schedule::requests);
        match (self.requests, due) {
            (Some(requests), Some(due)) => Some(requests.min(due)),
            (requests, due) => requests.or(due),
        }
    }

    pub(super) fn phase_count(&self) -> usize {
        let schedule = self.schedule.as_ref();
        schedule.map_or(1, |schedule| schedule.0.len())
    }
}
