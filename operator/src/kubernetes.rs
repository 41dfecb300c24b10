//! The access of both roles to the API server: watches, server-side apply, events.

pub mod apply;
mod call;
mod client;
pub mod events;
mod key;
pub mod resources;
pub mod watch;

pub use call::{ApiServerError, CALL_DEADLINE, with_deadline};
pub use client::{ConnectError, connect, connect_with};
