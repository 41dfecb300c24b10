//! service-a and service-b in one process, on ports of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod failures;
mod infrastructure;
mod pair;
mod responses;
mod shutdown;
mod spans;
mod trace;
