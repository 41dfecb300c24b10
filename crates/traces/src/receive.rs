//! OTLP receivers.
//!
//! Source: OpenTelemetry Protocol specification 1.9.

mod body;
mod content;
mod cors;
mod error;
mod grpc;
mod http;
pub(crate) mod json;
mod other_signals;
mod status;

use axum::{Router, middleware::from_fn_with_state};

use crate::receiver::Receiver;

impl Receiver {
    /// The OTLP receiver over HTTP: `POST /v1/traces`, with responses for the other signals.
    pub(crate) fn otlp_http(&self) -> Router {
        let origins = self.settings().origins.clone();
        http::routes()
            .merge(other_signals::http_routes())
            .fallback(http::not_found)
            // Comes last, so that it applies to all routes and to the fallback.
            .layer(from_fn_with_state(origins, cors::check))
            .with_state(self.clone())
    }

    /// The OTLP receiver over gRPC, with responses for the other signals.
    pub(crate) fn otlp_grpc(&self) -> Router {
        grpc::routes()
            .merge(other_signals::grpc_routes())
            .with_state(self.clone())
    }
}
