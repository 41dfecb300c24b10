//! Where clients come in.

mod codec;
mod grpc;
mod http;
mod metrics;
mod session;
pub(crate) mod stock;
pub(crate) mod stream;
