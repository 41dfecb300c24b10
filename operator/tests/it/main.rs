//! The operator on a real API server and, where there is one, on a real cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apiserver;
mod identity;
mod refused;
