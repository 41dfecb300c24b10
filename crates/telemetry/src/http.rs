//! HTTP: the server layer, at an edge and inside the mesh, its problem documents, and the client
//! to a peer.

mod attributes;
mod bounds;
mod client;
mod exchange;
mod guard;
mod peer;
mod rest;
mod server;
mod untraced;

pub use bounds::{Bounds, bounded};
pub(crate) use client::Caller;
pub use client::{HttpClient, HttpClientLayer};
pub use guard::guarded;
pub use peer::{Peer, PeerCallError};
pub(crate) use server::{Callers, Edge};
pub use server::{HttpServer, HttpServerLayer};
pub use spoor_runtime::Problem;
pub use untraced::{InvalidUntracedPaths, UntracedPaths};
