//! The crate through its public interface, against fakes and the real control plane in the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod batch;
mod control_plane;
mod control_stream;
mod control_tls;
mod database;
mod edge;
mod fake;
mod grpc;
mod http_client;
mod http_server;
mod lending;
mod logs;
mod not_grpc;
mod ops;
mod otlp;
mod otlp_tls;
mod propagation;
mod sampler;
mod serve;
mod settings;
