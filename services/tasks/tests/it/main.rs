//! tasks in the test's process, on its own ports, with a real Redis that stops and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod hostile;
mod outage;
mod redis;
mod running;
mod trace;
