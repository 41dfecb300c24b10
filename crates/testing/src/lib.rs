//! The services' common test support: services on free ports, the spans they make, their
//! infrastructure. All of it fails by panicking, as a test does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod infrastructure;
pub mod peer;
pub mod ports;
mod redis_server;
mod running;
mod spans;

pub use redis_server::RedisServer;
pub use running::{Running, args, args_at, json, nowhere};
pub use spans::{Spans, one};
