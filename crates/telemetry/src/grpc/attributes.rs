//! Attributes of RPC spans, by the semantic conventions for RPC and gRPC.

use std::borrow::Cow;

use http::uri::Authority;
use opentelemetry::KeyValue;
use opentelemetry_semantic_conventions::attribute::{
    RPC_METHOD, RPC_METHOD_ORIGINAL, RPC_SYSTEM_NAME,
};

use crate::{
    attributes::push_server,
    metrics::{OTHER, Operation},
};

/// Of both sides, at the span's start. `path` is the request's.
pub(super) fn of_call(
    operation: &Operation,
    path: &str,
    server: Option<&Authority>,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(9);
    attributes.push(KeyValue::new(RPC_SYSTEM_NAME, "grpc"));
    // Whether a server has a method that it has never answered is known at the call's end.
    if let Cow::Borrowed(_) = operation.name {
        attributes.push(KeyValue::new(RPC_METHOD, operation.target));
        if operation.target == OTHER {
            attributes.push(KeyValue::new(RPC_METHOD_ORIGINAL, method(path).to_owned()));
        }
    }
    push_server(&mut attributes, server, None);
    attributes
}

/// `/package.Service/Method` without its first slash.
pub(super) fn method(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}
