//! The checks of the lessons.

pub(super) mod bottleneck;
pub(super) mod conflict;
pub(super) mod errors;
mod exemplars;
pub(super) mod first_trace;
mod in_force;
pub(super) mod kept_errors;
pub(super) mod manual_span;
pub(super) mod metrics;
pub(super) mod propagation;
pub(super) mod rates;
pub(super) mod route;
