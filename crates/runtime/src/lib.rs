//! The basis of every process of Spoor: listeners with limits and draining, gRPC health and
//! reflection, compressed bodies, and the traces of a process's own work.

mod compression;
mod hints;
mod introspection;
mod listen;
mod problem;
pub mod self_tracing;

pub use compression::{ACCEPTED_ENCODINGS, Compression, DecompressError};
pub use hints::{Api, with_hints};
pub use introspection::{Health, ReflectionError, with_introspection};
pub use listen::{
    AllowedHosts, BindError, CutOff, Limits, Listener, Sockets, bind, by_protocol, grpc_fallback,
};
