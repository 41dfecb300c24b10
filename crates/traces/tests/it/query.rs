//! Jaeger's query API over HTTP and gRPC.

mod bounds;
mod grpc;
mod v1;
mod v3;
