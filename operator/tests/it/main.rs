//! The operator on a real API server and, where there is one, on a real cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apiserver;
mod chart;
mod children;
mod claims;
mod cluster;
mod collector;
mod console;
mod faults;
mod follower;
mod identity;
mod jaeger;
mod policies;
mod rbac;
mod refused;
mod remote_sampling;
mod role;
mod self_tracing;
mod stacks;
mod steady;
mod subscriber;
