//! Jaeger's query API over the store: the first version and the third over HTTP, the third over
//! gRPC.

pub(crate) mod go;
mod grpc;
pub(crate) mod limits;
pub(crate) mod parameters;
pub(crate) mod response;
mod stream;
mod summary;
mod v1;
mod v3;

use axum::{Router, routing::any};
use http::StatusCode;
use spoor_proto::jaeger::api_v3::query_service_server::QueryServiceServer;

pub use grpc::GrpcQueries;
pub use limits::{MAX_RESPONSE_BYTES, MAX_TRACE_BYTES, Queries, Refusal};

/// The most traces that one search returns; a request for more is refused rather than cut.
pub const MAX_TRACES: usize = 20_000;

/// `/api/…` in Jaeger's first version and `/api/v3/…`. What is not there is a 404 as JSON, so
/// that it can be merged with a router that has a fallback of its own.
pub fn http(queries: &Queries) -> Router {
    let unknown = || async { v1::Fault::new(StatusCode::NOT_FOUND, "there is no such API path") };
    v1::routes()
        .merge(v3::routes())
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*path}", any(unknown))
        .with_state(queries.clone())
}

/// `jaeger.api_v3.QueryService`.
pub fn grpc(queries: &Queries) -> QueryServiceServer<GrpcQueries> {
    QueryServiceServer::new(GrpcQueries::new(queries.clone()))
        .max_encoding_message_size(MAX_RESPONSE_BYTES)
}
