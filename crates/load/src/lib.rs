//! The load generator: sends requests on a scenario's schedule, or as fast as responses arrive,
//! and measures the latency.
//!
//! A [`Load`] describes what to send and when. [`drive`] sends it and returns a [`LoadSummary`].
//! The [`Scenario`]s are ready-made patterns for the edges of the mesh.

mod base_url;
mod connection;
mod drive;
mod edge;
mod error;
mod images;
mod load;
mod mix;
mod operation;
mod picture;
mod recorder;
mod request_stats;
mod scenario;
mod schedule;
mod summary;
#[cfg(test)]
mod tests;
mod timeline;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use connection::TraceResponse;
pub use drive::drive;
pub use edge::Edge;
pub use error::DriveError;
pub use load::Load;
pub use mix::operations;
pub use operation::{Body, FollowUp, LoadOperation};
pub use picture::{DrawError, draw as draw_picture};
pub use request_stats::SlowTrace;
pub use scenario::{Defaults, Scenario};
pub use schedule::{LoadPhase, Schedule};
pub use summary::{LoadSummary, OperationRow, PERCENTILES, PhaseRow, Punctuality, ResultRow};
pub use timeline::{Point, Points};
