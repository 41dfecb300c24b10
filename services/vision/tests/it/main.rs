//! preprocessing, ensemble and both models in one process, on ports of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod infrastructure;
mod running;
mod spans;
mod trace;
