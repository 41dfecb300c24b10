//! HTTP: the server layer at an edge, its problem documents, and the client layer.

mod attributes;
mod client;
mod fault;
mod problem;
mod server;

pub(crate) use client::Caller;
pub use client::{Client, ClientLayer};
pub use problem::Problem;
pub(crate) use server::Edge;
pub use server::{Server, ServerLayer};
