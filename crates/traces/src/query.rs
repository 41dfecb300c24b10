//! Jaeger's query API over the store: v1 and v3 over HTTP, v2 and v3 over gRPC.

mod api;
mod enrich;
mod figures;
pub mod go;
mod grpc;
mod grpc_queries;
pub(crate) mod limits;
mod model;
mod pages;
pub mod parameters;
pub(crate) mod response;
mod stream;
mod summary;
mod v1;
mod v2;
mod v3;

use axum::{Router, routing::any};
use http::StatusCode;
use spoor_proto::jaeger::{api_v2, api_v3::query_service_server::QueryServiceServer};
use spoor_runtime::{ReflectionError, with_introspection};
use tonic::service::Routes;

pub use limits::{MAX_RESPONSE_BYTES, MAX_TRACE_BYTES, Queries, TraceQueryError};
pub use pages::Found;
pub use v3::to_otlp_json;

/// The most traces that one search returns; a request for more is refused rather than cut.
pub const MAX_TRACES: usize = 20_000;

/// `/api/…` of Jaeger's v1 API and `/api/v3/…`. Unknown paths below `/api` get a 404 as JSON, so
/// that the router can be merged with one that has another fallback.
pub fn http(queries: &Queries) -> Router {
    let unknown = || async { v1::V1Error::new(StatusCode::NOT_FOUND, "unknown API path") };
    v1::routes(queries)
        .merge(v3::routes(queries))
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*path}", any(unknown))
        .with_state(queries.clone())
}

/// The longest request over gRPC. The longest that clients send are searches with many tags.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// `jaeger.api_v3.QueryService` and `jaeger.api_v2.QueryService`, with reflection and health.
///
/// # Errors
/// [`ReflectionError`].
pub async fn grpc(queries: &Queries) -> Result<Routes, ReflectionError> {
    const SERVICES: [&str; 2] = ["jaeger.api_v2.QueryService", "jaeger.api_v3.QueryService"];
    let v3 = QueryServiceServer::new(queries.clone())
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    let v2 = api_v2::query_service_server::QueryServiceServer::new(queries.clone())
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    let routes = Routes::new(v3).add_service(v2);
    let (routes, _) = with_introspection(routes, &SERVICES, spoor_proto::DESCRIPTORS).await?;
    Ok(routes)
}
