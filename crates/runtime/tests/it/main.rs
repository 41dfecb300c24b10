//! Tests of listeners, gRPC health and reflection, and self-tracing, with real clients,
//! well-behaved and hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod clients;
mod drain;
mod heads;
mod introspection;
mod protocols;
mod self_tracing;
mod support;
mod unread;
