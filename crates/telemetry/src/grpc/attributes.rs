//! Attributes of RPC spans, following the semantic conventions for RPC and gRPC.

use http::uri::Authority;
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::RPC_SYSTEM_NAME;

use crate::attributes::push_server;

/// The attributes of both sides at the span's start.
pub(super) fn of_call(server: Option<&Authority>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(9);
    attributes.push(KeyValue::new(RPC_SYSTEM_NAME, "grpc"));
    push_server(&mut attributes, server, None);
    attributes
}

/// `/package.Service/Method` without its first slash.
pub(super) fn method(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}
