//! service-a and service-b: a bottleneck to find, errors to see, a sampling rate to change.
//!
//! `service-a` is an edge and serves HTTP. It calls `service-b` over gRPC, which simulates a
//! database query and then computes.

pub mod a;
pub mod b;
