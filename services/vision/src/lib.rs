//! Pictures are classified by two models at once: a fan-out, and spans that compute.

pub mod ensemble;
pub mod model;
pub mod preprocessing;
