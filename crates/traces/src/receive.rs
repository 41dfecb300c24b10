//! OTLP receivers.
//!
//! Source: OpenTelemetry Protocol specification 1.9.

mod body;
mod content;
mod cors;
mod error;
mod grpc;
mod http;
mod json;
mod other_signals;
mod settings;
mod status;

pub(crate) use content::MAX_CONCURRENT_LARGE_BODIES;
pub use cors::AllowedOrigins;
pub use settings::{OtherSignals, ReceiveSettings};

use axum::{Router, middleware::from_fn_with_state};

use crate::Pipeline;

/// The receiver over HTTP, with responses for the other signals.
pub(crate) fn http(pipeline: Pipeline) -> Router {
    let origins = pipeline.receive_settings().origins.clone();
    http::routes()
        .merge(other_signals::http_routes())
        .fallback(http::elsewhere)
        // Comes last, so that it applies to all routes and to the fallback.
        .layer(from_fn_with_state(origins, cors::check))
        .with_state(pipeline)
}

/// The receiver over gRPC, with responses for the other signals.
pub(crate) fn grpc(pipeline: Pipeline) -> Router {
    grpc::routes()
        .merge(other_signals::grpc_routes())
        .with_state(pipeline)
}
