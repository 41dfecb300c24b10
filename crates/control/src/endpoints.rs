//! The endpoints that clients connect to.

mod grpc;
mod http;
mod metrics;
mod partial;
pub(crate) mod stream;
mod subscribe;
mod subscription;
pub(crate) mod tail_stream;
