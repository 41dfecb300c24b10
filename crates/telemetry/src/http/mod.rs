//! HTTP: the server layer at an edge, and the client layer.

mod attributes;
mod client;
mod fault;
mod server;

pub(crate) use client::Caller;
pub use client::{Client, ClientLayer};
pub(crate) use server::Edge;
pub use server::{Server, ServerLayer};
