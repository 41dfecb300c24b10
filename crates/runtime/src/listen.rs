//! The one listener implementation: HTTP/1, HTTP/2 and gRPC on every port, within limits.
//!
//! A listener accepts connections ([`Listener`]), tracks which side each of them waits for
//! ([`activity`]), and closes those that only wait for their peer when they have waited for too
//! long or when room is needed for others ([`registry`]).

mod activity;
mod body;
mod clients;
mod connection;
mod host;
mod limits;
mod listener;
mod protocol;
mod received;
mod refusal;
mod registry;
mod request;
mod response;
mod sockets;
mod totals;
mod turn;

pub(crate) use request::Stop;

pub use body::end_slow_bodies;
pub use clients::{ClientsChange, GrpcClients};
pub use limits::Limits;
pub use listener::{CutOff, Listener};
pub use protocol::{by_protocol, grpc_fallback};
pub use registry::{max_connections, raise_descriptor_limit};
pub use sockets::{BindError, Sockets, bind};
pub use turn::{ConnectionTurn, in_turn};
