//! gRPC inside the mesh: the layers for tonic's servers and channels. Callers are trusted.

mod attributes;
mod body;
mod channel;
mod client;
mod server;
pub(crate) mod status;
mod transport;
mod within;

pub use channel::Channel;
pub(crate) use channel::lazy;
pub use client::{Attributes, GrpcClient, GrpcClientLayer, RpcClientState};
pub use server::{GrpcServer, GrpcServerLayer, RpcServerState};
pub use transport::Transport;
pub use within::within;

pub use crate::peer::{InvalidPeerUrl, PeerUrl};

/// True for health checks and reflection, which have no spans, faults or metrics.
fn is_infrastructure(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
}
