//! Candidates for a lease, and the state of their leadership.

use std::time::{Duration, Instant};

/// A lease's duration, and how often it is read and renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The time without a renewal after which another candidate may take over.
    pub duration: Duration,
    /// The interval at which the holder renews the lease, and at which a refused installation tries
    /// to claim its namespace again.
    pub renew: Duration,
    /// The interval at which a standby reads the lease, and at which any candidate does so after a
    /// failure.
    pub retry: Duration,
}

impl Default for Timing {
    /// The duration and the retry interval are the defaults of client-go's leader election.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            // A third of the duration, so that two more attempts fit in before the lease expires.
            renew: Duration::from_secs(5),
            retry: Duration::from_secs(2),
        }
    }
}

/// A candidate for a lease.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The identity of the candidate. For a leader election it is unique: the pod's name and a
    /// random suffix. For a claim it is the installation's, which both roles share.
    pub identity: String,
    /// The timing of the lease.
    pub timing: Timing,
}

/// The state of a candidate's leadership, as of its last read of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// The candidate is not the leader yet.
    Standby,
    /// The candidate is the leader.
    Leader {
        /// The time at which the lease expires unless it is renewed. No other candidate can take
        /// over before.
        until: Instant,
    },
    /// Another candidate took over. This one never becomes the leader again.
    Lost {
        /// The identity of the new leader.
        to: String,
    },
}

impl Leadership {
    /// Returns true if the candidate is the leader and no other one can have taken over.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        matches!(self, Self::Leader { until } if Instant::now() < *until)
    }

    /// Returns true if the candidate was the leader when it last read the lease.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self, Self::Leader { .. })
    }
}
