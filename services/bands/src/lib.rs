//! bands and reviews: propagation of trace context, and trust in it.

pub mod bands;
mod catalogue;
mod id;
mod response;
pub mod reviews;
