//! Tests of a control plane on port 0 with clients of each endpoint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod counts;
mod evidence;
mod grpc;
mod http;
mod identity;
mod metrics;
mod samplers;
mod stream;
mod support;
