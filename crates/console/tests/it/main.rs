//! Tests of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod traces;
