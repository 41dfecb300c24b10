//! Tests of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crds;
mod durations;
mod hostile;
mod read;
mod samples;
mod schema;
mod stack;
mod write;
mod yaml;
