//! HTTP: the server layer, at an edge and inside the mesh, its problem documents, and the client
//! to a peer.

mod assets;
mod attributes;
mod bounds;
mod client;
mod drain;
mod guard;
mod peer;
mod server;
mod untraced;

pub use assets::assets;
pub use bounds::{Bounds, bounded};
pub use client::{HttpClient, HttpClientLayer, HttpClientState};
pub use drain::discard;
pub use guard::guarded;
pub use peer::{Peer, PeerCallError};
pub(crate) use server::Callers;
pub use server::{HttpServer, HttpServerLayer, HttpServerState};
pub use spoor_runtime::{
    ConnectionTurn, JsonBody, ListBudget, ListBudgetSpent, Problem, QueryParameters, RequestBody,
    StreamLimit, StreamPermit, in_turn, page_headers,
};
pub use untraced::{InvalidUntracedPaths, UntracedPaths, untraced_context};
