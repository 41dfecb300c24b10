//! service-a calls service-b: a bottleneck to find, errors to see, a rate to change.
//!
//! `service-a` is the edge, over HTTP; `service-b` does the work, over gRPC: it waits as a
//! database would, then computes.

pub mod a;
pub mod b;
