//! tasks in the test's process, on ports of its own; a real Redis, which goes and comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod hostile;
mod outage;
mod redis;
mod running;
mod trace;
