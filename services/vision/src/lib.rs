//! Pictures are classified by two models at once: a fan-out, and spans that compute.
//!
//! `preprocessing` is the edge, over HTTP: it makes of a picture what the models want to be given.
//! `ensemble` asks the models `efficientnetb0` and `mobilenetv2` at once, over gRPC, and weighs
//! their votes.

pub mod ensemble;
mod input;
pub mod model;
pub mod preprocessing;
pub mod samples;
mod workers;

pub use input::{Channels, Input, InvalidChannels, InvalidInput, InvalidSize, Size};
