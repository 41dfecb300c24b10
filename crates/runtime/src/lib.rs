//! What every process of Spoor needs: listeners with limits and draining, and
//! gRPC health and reflection, compressed bodies.

mod compression;
mod introspection;
mod listen;

pub use compression::{ACCEPTED_ENCODINGS, Compression, DecompressError};
pub use introspection::{Health, ReflectionError, with_introspection};
pub use listen::{
    AllowedHosts, BindError, CutOff, Limits, Listener, Sockets, bind, by_protocol, grpc_fallback,
};
