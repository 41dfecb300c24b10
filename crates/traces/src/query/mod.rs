//! Jaeger's query API over the store: the first version and the third over HTTP, the third over
//! gRPC.

pub(crate) mod go;
mod grpc;
pub(crate) mod parameters;
mod response;
mod v1;
mod v3;

use axum::{Router, routing::any};
use http::StatusCode;
use spoor_proto::jaeger::api_v3::query_service_server::QueryServiceServer;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::Store;

pub use grpc::Queries;

/// The most traces that one search returns; a request for more is refused rather than cut.
pub const MAX_TRACES: usize = 20_000;

/// Answers hold decoded traces: this many are made at once, more requests wait their turn.
const CONCURRENT_QUERIES: usize = 16;

/// `/api/…` in Jaeger's first version and `/api/v3/…`. What is not there is a 404 as JSON, so
/// that it can be merged with a router that has a fallback of its own.
pub fn http(store: Store) -> Router {
    let unknown = || async { v1::Fault::new(StatusCode::NOT_FOUND, "there is no such API path") };
    v1::routes()
        .merge(v3::routes())
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*path}", any(unknown))
        .layer(GlobalConcurrencyLimitLayer::new(CONCURRENT_QUERIES))
        .with_state(store)
}

/// `jaeger.api_v3.QueryService`.
pub fn grpc(store: Store) -> QueryServiceServer<Queries> {
    QueryServiceServer::new(Queries::new(store))
}
