//! Where clients come in.

mod codec;
mod grpc;
mod http;
mod session;
pub(crate) mod stock;
pub(crate) mod stream;
