//! Jaeger's query API over HTTP and gRPC.

mod bounds;
mod clients;
mod figures;
mod grpc;
mod v1;
mod v2;
mod v3;
