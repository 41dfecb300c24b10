//! The endpoints that clients connect to.

mod grpc;
mod http;
mod metrics;
pub(crate) mod stream;
mod subscription;
