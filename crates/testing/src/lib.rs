//! Test support for all crates: services on free ports, the spans they export, their health and
//! metrics, and third-party programs. Failures panic, as in a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod infrastructure;
pub mod ports;
pub mod programs;
mod redis_server;
mod running;
mod spans;

pub use redis_server::RedisServer;
pub use running::{Running, args, args_at, json, unused_address};
pub use spans::{Spans, only_span};
