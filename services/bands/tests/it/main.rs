//! bands and reviews in one process, on ports of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod degraded;
mod hostile;
mod pair;
mod responses;
mod trace;
