//! Leases: one elects the leader among a role's replicas, one in each namespace claims that
//! namespace for an installation.
//!
//! Both follow client-go's leader election and never compare clocks: a lease has expired once this
//! process, by its own clock, has seen no change to it for the duration of the lease. The Rust
//! libraries for leader election compare the local clock with the holder's `renewTime` instead, so
//! two replicas may be leaders at the same time if their clocks differ. Hence this module.
//!
//! A leader that cannot reach the API server keeps serving: if no replica can reach it, none can
//! have become the leader. It steps down when it sees another holder.

mod claimer;
mod claims;
mod election;
mod leadership;
mod record;
mod refusal;

pub use claimer::{CLAIM_TIMING, Claimer};
pub use claims::{CLAIM_LEASE, NamespaceClaims};
pub use election::{campaign, lost_leadership};
pub use leadership::{Candidate, Leadership, Timing};
