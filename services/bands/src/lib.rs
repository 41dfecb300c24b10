//! bands and reviews: propagation of trace context, and trust in it.

pub mod bands;
mod id;
mod response;
pub mod reviews;

pub use id::Id;
