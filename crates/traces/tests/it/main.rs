//! Traces, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod page;
mod query;
mod serve;
mod spans;
mod tree;
