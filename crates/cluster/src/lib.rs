//! A client of a cluster's policies and traces, with the user's kubeconfig and therefore their rights.
//! It needs nothing in the cluster but Spoor's resources, and no permission that the user does not
//! have.

mod apply;
mod backend;
mod call;
mod client;
mod connect;
mod convergence;
mod diff;
mod documents;
mod jaeger;
mod kept;
mod managers;
mod object;
mod traces;
mod watch;

pub use apply::Applied;
pub use client::{ClusterClient, ListedPolicies};
pub use connect::{ClusterOptions, ConnectError};
pub use convergence::Convergence;
