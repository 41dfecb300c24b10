//! What every process of Spoor needs: listeners with limits and draining, and
//! gRPC health and reflection.

mod introspection;
mod listen;

pub use introspection::{Health, ReflectionError, with_introspection};
pub use listen::{
    AllowedHosts, BindError, CutOff, Limits, Listener, Sockets, bind, by_protocol, grpc_fallback,
};
