//! HTTP: the server layer, at an edge and inside the mesh, its problem documents, and the client
//! to a peer.

mod assets;
mod attributes;
mod bounds;
mod client;
mod exchange;
mod guard;
mod peer;
mod rest;
mod server;
mod untraced;

pub use assets::assets;
pub use bounds::{Bounds, bounded};
pub(crate) use client::Caller;
pub use client::{Client, ClientLayer};
pub use guard::guarded;
pub use peer::{CallError, Peer};
pub(crate) use server::{Callers, Edge};
pub use server::{Server, ServerLayer};
pub use spoor_runtime::{ListBudget, ListBudgetSpent, Problem};
pub use untraced::{InvalidUntracedPaths, UntracedPaths};
