//! What both roles do with the API server: watch, apply, tell events.

pub mod apply;
mod call;
mod client;
pub mod events;
pub mod resources;
pub mod watch;

pub use call::{CALL_DEADLINE, CallError, chain, with_deadline};
pub use client::{ConnectError, connect, connect_with};
