//! bands asks reviews: trace context across a wire, and what of it may be trusted.

mod answer;
pub mod bands;
mod id;
pub mod reviews;

pub use id::Id;
