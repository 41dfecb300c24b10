//! The endpoints that clients connect to.

mod codec;
mod grpc;
mod http;
mod metrics;
pub(crate) mod stream;
mod subscription;
