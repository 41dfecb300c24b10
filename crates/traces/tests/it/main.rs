//! Tests of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod query;
mod receive;
mod receiver;
mod serve;
mod spans;
mod store;
mod tail;
mod tree;
