//! What every process of Spoor needs: listeners with limits and draining.

mod listen;

pub use listen::{
    AllowedHosts, BindError, CutOff, Limits, Listener, Sockets, bind, by_protocol, grpc_fallback,
};
