//! Image classification by two models: a fan-out, and CPU-bound spans.
//!
//! `preprocessing` is an edge and serves HTTP: it converts a picture to the models' inputs.
//! `ensemble` queries the models `efficientnetb0` and `mobilenetv2` concurrently over gRPC, and
//! computes a weighted vote.

pub mod ensemble;
mod input;
pub mod model;
pub mod preprocessing;
pub mod samples;
mod workers;

pub use input::{Channels, Input, InvalidChannels, InvalidInput, InvalidSize, Size};
