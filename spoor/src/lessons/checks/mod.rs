//! What each lesson asks for.

pub(super) mod first_trace;
