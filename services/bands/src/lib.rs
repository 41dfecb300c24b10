//! bands asks reviews: trace context across a wire, and what of it may be trusted.

pub mod bands;
pub mod reviews;
